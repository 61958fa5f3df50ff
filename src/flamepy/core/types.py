# SPDX-License-Identifier: Apache-2.0
"""The SDK's data types: enums, attributes, snapshots and the one error class."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "DEFAULT_FLAME_CACHE_ENDPOINT",
    "DEFAULT_FLAME_CONF",
    "DEFAULT_FLAME_ENDPOINT",
    "Application",
    "ApplicationAttributes",
    "ApplicationID",
    "ApplicationSchema",
    "ApplicationState",
    "CommonData",
    "Event",
    "FlameClientCache",
    "FlameClientTls",
    "FlameClusterConfig",
    "FlameContextRunner",
    "FlameError",
    "FlameErrorCode",
    "FlamePackage",
    "InstanceLog",
    "Message",
    "ObjectNotFoundError",
    "ResourceRequirement",
    "SessionAttributes",
    "SessionID",
    "SessionState",
    "Shim",
    "Task",
    "TaskID",
    "TaskInformer",
    "TaskInput",
    "TaskOutput",
    "TaskState",
    "short_name",
]

TaskID: TypeAlias = str
SessionID: TypeAlias = str
ApplicationID: TypeAlias = str
Message: TypeAlias = bytes
TaskInput: TypeAlias = bytes
TaskOutput: TypeAlias = bytes
CommonData: TypeAlias = bytes

DEFAULT_FLAME_CONF = "flame.yaml"
DEFAULT_FLAME_ENDPOINT = "http://127.0.0.1:8080"
DEFAULT_FLAME_CACHE_ENDPOINT = "grpc://127.0.0.1:9090"


class SessionState(IntEnum):
    """Whether a session takes tasks."""

    OPEN = 0
    CLOSED = 1


class TaskState(IntEnum):
    """Where a task is in its life; SUCCEED, FAILED and CANCELLED are final."""

    PENDING = 0
    RUNNING = 1
    SUCCEED = 2
    FAILED = 3
    CANCELLED = 4


class ApplicationState(IntEnum):
    """Whether sessions of an application may be made."""

    ENABLED = 0
    DISABLED = 1


class Shim(IntEnum):
    """What an executor runs: a process, or a WebAssembly component."""

    HOST = 0
    WASM = 1


class FlameErrorCode(IntEnum):
    """What kind of failure a FlameError is."""

    INVALID_CONFIG = 0
    INVALID_STATE = 1
    INVALID_ARGUMENT = 2
    INTERNAL = 3
    ALREADY_EXISTS = 4
    NOT_FOUND = 5


class FlameError(Exception):
    """Every failure of the SDK. Attributes: code, and message: what, where, and what to do."""

    def __init__(self, code: FlameErrorCode, message: str) -> None:
        super().__init__(f"{message} (code: {code})")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[FlameError], tuple[FlameErrorCode, str]]:
        return type(self), (self.code, self.message)


class ObjectNotFoundError(FlameError, ValueError):
    """There is no such object, or no longer. Its code is NOT_FOUND."""


@dataclass
class Event:
    """Something that happened to a task or a session. creation_time is in UTC.

    Codes below 16 are a task's ordinary life: 0 created, 1 running, 2 succeeded, 3 failed; 1001 and
    1002 are a session's failed and given-up attempts to start an instance.
    """

    code: int
    message: str | None = None
    creation_time: datetime | None = None


_BINARY_PREFIXES = "kmgtp"
_MEMORY = re.compile(rf"(\d+)(?:([{_BINARY_PREFIXES}])i?b?)?", re.IGNORECASE | re.ASCII)


@dataclass
class ResourceRequirement:
    """What one instance needs. memory is in bytes."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    @classmethod
    def from_string(cls, text: str) -> ResourceRequirement:
        """Read ``cpu=1,mem=1g,gpu=0``: any of the keys, in any order and case, the last one wins.

        Numbers are whole and not negative; memory takes k, m, g, t or p with an optional i and b, all
        binary. Raises ValueError for anything else, TypeError for what is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"resource requirement is {text!r}, want text such as cpu=1,mem=1g")
        found: dict[str, int] = {}
        for entry in text.split(","):
            key, separator, value = (part.strip() for part in entry.partition("="))
            if not separator or not value:
                raise ValueError(f"resource requirement {text!r}: entry {entry!r} is not key=value")
            name = "memory" if key.lower() == "mem" else key.lower()
            if name not in ("cpu", "memory", "gpu"):
                raise ValueError(f"resource requirement {text!r}: unknown key {key!r}, use cpu, mem or gpu")
            found[name] = _read_memory(text, value) if name == "memory" else _read_count(text, value)
        return cls(**found)


def _read_count(text: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"resource requirement {text!r}: {value!r} is not a whole number from 0 on")
    return int(value)


def _read_memory(text: str, value: str) -> int:
    match = _MEMORY.fullmatch(value)
    if match is None:
        raise ValueError(f"resource requirement {text!r}: {value!r} is not a memory size such as 512m or 1g")
    number, prefix = match.groups()
    return int(number) * (1024 ** (_BINARY_PREFIXES.index(prefix.lower()) + 1) if prefix else 1)


@dataclass
class SessionAttributes:
    """What a session is made of; fixed for its life. max_instances None means no limit.

    priority: higher ones are served first, from 0. timeout: seconds that each task may run, None for no
    limit. max_retries: how often a task is done again after its executor died with it, None for the
    instance's own limit.
    """

    application: str
    id: str | None = None
    common_data: bytes | None = None
    min_instances: int = 0
    max_instances: int | None = None
    batch_size: int = 1
    resreq: ResourceRequirement | None = None
    priority: int = 0
    timeout: float | None = None
    max_retries: int | None = None


@dataclass
class ApplicationSchema:
    """JSON Schemas of an application's messages, as texts. Told to people and tools, never enforced."""

    input: str | None = None
    output: str | None = None
    common_data: str | None = None


@dataclass
class ApplicationAttributes:
    """A recipe for starting a service process. delay_release is in seconds; None takes the default."""

    shim: Shim | None = None
    image: str | None = None
    description: str | None = None
    labels: list[str] | None = None
    command: str | None = None
    arguments: list[str] | None = None
    environments: dict[str, str] | None = None
    working_directory: str | None = None
    max_instances: int | None = None
    delay_release: int | None = None
    schema: ApplicationSchema | None = None
    url: str | None = None
    installer: str | None = None


@dataclass
class Application:
    """A registered application, as it was when asked for."""

    id: str
    name: str
    state: ApplicationState
    creation_time: datetime
    shim: Shim | None = None
    image: str | None = None
    description: str | None = None
    labels: list[str] | None = None
    command: str | None = None
    arguments: list[str] | None = None
    environments: dict[str, str] | None = None
    working_directory: str | None = None
    max_instances: int | None = None
    delay_release: int | None = None
    schema: ApplicationSchema | None = None
    url: str | None = None
    installer: str | None = None


@dataclass
class Task:
    """A task, as it was when asked for. executor is the instance that has it, or had it last."""

    id: str
    session_id: str
    state: TaskState
    creation_time: datetime
    input: bytes | None = None
    output: bytes | None = None
    completion_time: datetime | None = None
    events: list[Event] | None = field(default=None)
    executor: str | None = None

    def is_completed(self) -> bool:
        """Whether the service has answered, well or badly. A cancelled task was never answered."""
        return self.state in (TaskState.SUCCEED, TaskState.FAILED)

    def is_failed(self) -> bool:
        """Whether the service failed it."""
        return self.state == TaskState.FAILED

    def is_cancelled(self) -> bool:
        """Whether it was cancelled, by itself or with its session, before the service had answered."""
        return self.state == TaskState.CANCELLED


@dataclass
class InstanceLog:
    """What an instance had printed when asked for: the last 64 KiB of each stream. Times are in UTC.

    is_truncated: whether there was more. completion_time is None while the instance runs.
    """

    executor: str
    stdout: bytes
    stderr: bytes
    is_running: bool
    is_truncated: bool
    creation_time: datetime
    completion_time: datetime | None = None


class TaskInformer:
    """Told of a task by programs that follow it themselves; does nothing. Base class for old programs."""

    def on_update(self, task: Task) -> None:
        """The task has changed."""

    def on_error(self, error: FlameError) -> None:
        """It can no longer be followed."""


# -- configuration


@dataclass
class FlameClientTls:
    """TLS for a connection; ca_file None means the system's own certificates."""

    ca_file: str | None = None


@dataclass
class FlameClusterConfig:
    """An instance: its address, and TLS if the address wants it."""

    endpoint: str = ""
    tls: FlameClientTls | None = None


@dataclass
class FlameClientCache:
    """Where objects are kept: endpoint None is the instance itself.

    storage is a folder that upstream's client writes to by itself. It is read and kept, and not used here.
    """

    endpoint: str | None = None
    tls: FlameClientTls | None = None
    storage: str | None = None


_PACKAGE_EXCLUDES: Final = (".venv", "__pycache__", ".gitignore", "*.pyc")


@dataclass
class FlamePackage:
    """Where packages of programs are kept (a URL), and which files do not belong into one (patterns)."""

    storage: str
    excludes: list[str] = field(default_factory=lambda: list(_PACKAGE_EXCLUDES))


@dataclass
class FlameContextRunner:
    """The application that a Runner copies."""

    template: str | None = None


_NAME_LETTERS = string.ascii_letters + string.digits


def short_name(prefix: str, length: int = 6) -> str:
    """``<prefix>-`` and random letters and digits: a name nobody else has."""
    import secrets  # brings all of hashlib, a twentieth of the start of a service, which names nothing

    return f"{prefix}-{''.join(secrets.choice(_NAME_LETTERS) for _ in range(length))}"
