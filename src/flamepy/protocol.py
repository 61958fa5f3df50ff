# SPDX-License-Identifier: Apache-2.0
"""Every payload of the ``flame.*`` topics, for both ends (docs/protocol.md lists the topics).

Control requests are JSON objects, so that any Flux client can send them; bytes are base64 there,
times are UTC milliseconds. What carries tasks and objects to and fro is msgpack arrays (array_like).
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from flamepy.core.types import (
    ApplicationAttributes,
    ApplicationState,
    FlameErrorCode,
    ResourceRequirement,
    SessionState,
    Shim,
    TaskState,
)

__all__ = [
    "CODE_OF_ERRNO",
    "ERRNO_OF_CODE",
    "MAX_COMMON_DATA_BYTES",
    "MAX_COUNT",
    "MAX_DATA_BYTES",
    "MAX_TASK_DATA_BYTES",
    "TASK_CREATED_TEXT",
    "ApplicationInfo",
    "ApplicationList",
    "AttachExecutor",
    "CancelTasks",
    "CancelledTasks",
    "CloseMode",
    "CloseSession",
    "CompletionBatch",
    "CreateSession",
    "DeleteObjects",
    "EventInfo",
    "ExecutorInfo",
    "ExecutorList",
    "ExecutorOrder",
    "GetObject",
    "InstanceLogInfo",
    "InstanceStatus",
    "ListLogs",
    "ListSessions",
    "ListTasks",
    "LogList",
    "Name",
    "NodeInfo",
    "NodeList",
    "ObjectData",
    "ObjectInfo",
    "ObjectsDeleted",
    "OpenResults",
    "RegisterApplication",
    "ResultBatch",
    "SessionContextInfo",
    "SessionInfo",
    "SessionList",
    "SessionRef",
    "SessionSpec",
    "SubmitBatch",
    "Submitted",
    "TaskInfo",
    "TaskList",
    "TaskOptions",
    "TaskRef",
    "Unwatch",
    "WriteObject",
]

ERRNO_OF_CODE: Final = {
    FlameErrorCode.INVALID_CONFIG: errno.ENOTSUP,
    FlameErrorCode.INVALID_STATE: errno.EBUSY,
    FlameErrorCode.INVALID_ARGUMENT: errno.EINVAL,
    FlameErrorCode.INTERNAL: errno.EIO,
    FlameErrorCode.ALREADY_EXISTS: errno.EEXIST,
    FlameErrorCode.NOT_FOUND: errno.ENOENT,
}
"""The errno that a FlameErrorCode travels as. Any other errno arrives as INTERNAL."""

CODE_OF_ERRNO: Final = {
    **{errnum: code for code, errnum in ERRNO_OF_CODE.items()},
    errno.EPROTO: FlameErrorCode.INVALID_ARGUMENT,  # a value of the wrong type, which only the caller can have put in
}


MAX_DATA_BYTES: Final = (1 << 30) - (1 << 20)
"""Of one object with its patches: a message of 1 GiB, less room for what surrounds it."""

MAX_TASK_DATA_BYTES: Final = 1_000_000_000 - (1 << 20)
"""Of one input or output: it has to fit into a row of SQLite with what is said about it, and these have at most 10⁹."""

MAX_COMMON_DATA_BYTES: Final = 512 << 20
"""It travels as base64."""

MAX_COUNT: Final = (1 << 32) - 1
"""Of instances, retries, priorities, and of seconds that are waited: nobody means more, and every store holds it."""

TASK_CREATED_TEXT: Final = "Task was created with state <Pending>"
"""Of a task's first event, code 0, which whoever creates a task knows without asking."""


# -- applications


class Name(msgspec.Struct):
    """flame.application.get, .unregister."""

    name: str


class RegisterApplication(msgspec.Struct):
    """flame.application.register; flame.application.update, where the attributes take the place of all former ones."""

    name: str
    attributes: ApplicationAttributes


class ApplicationInfo(msgspec.Struct):
    """The answer to flame.application.get."""

    name: str
    state: ApplicationState
    creation_time_ms: int
    attributes: ApplicationAttributes


class ApplicationList(msgspec.Struct):
    """The answer to flame.application.list."""

    applications: list[ApplicationInfo]


# -- sessions


class EventInfo(msgspec.Struct):
    """One event of a task or a session."""

    code: int
    message: str | None
    creation_time_ms: int


class SessionSpec(msgspec.Struct, frozen=True):
    """What a session is made of."""

    application: str
    common_data: bytes | None = None
    min_instances: int = 0
    max_instances: int | None = None
    batch_size: int = 1
    resreq: ResourceRequirement | None = None
    priority: int = 0
    timeout_s: float | None = None
    """How long each task may run."""
    max_retries: int | None = None
    """How often a task is done again after its executor died with it; null for the instance's own limit."""


class CreateSession(msgspec.Struct):
    """flame.session.create; flame.session.open, where spec may be null to open only what exists."""

    session: str
    spec: SessionSpec | None = None


class SessionRef(msgspec.Struct):
    """flame.session.get, .delete."""

    session: str


class OpenResults(msgspec.Struct):
    """flame.session.results: a stream of ResultBatch.

    unanswered: what a client that comes back has submitted and had no result of, as (first number, count)
    in its own numbering, named client.
    """

    session: str
    client: str = ""
    unanswered: list[tuple[int, int]] = []


class CloseMode(Enum):
    """What becomes of the unfinished tasks of a session that is closed."""

    PLAIN = "plain"
    """What waits is cancelled; refused while something runs."""
    DRAIN = "drain"
    """All are finished first, and no more are taken."""
    FORCE = "force"
    """All are cancelled, also what runs."""


class CloseSession(msgspec.Struct):
    """flame.session.close; the answer comes when it is closed."""

    session: str
    mode: CloseMode = CloseMode.PLAIN


class ListSessions(msgspec.Struct):
    """flame.session.list; the payload may be left out. common_data: whether each spec carries it."""

    common_data: bool = True


class SessionInfo(msgspec.Struct):
    """The answer to flame.session.create, .open, .get and .close."""

    session: str
    state: SessionState
    creation_time_ms: int
    completion_time_ms: int | None
    spec: SessionSpec
    pending: int
    running: int
    succeed: int
    failed: int
    cancelled: int
    events: list[EventInfo]
    closing: bool = False
    """It takes no more tasks, and is closed when those it has are finished."""


class SessionList(msgspec.Struct):
    """The answer to flame.session.list."""

    sessions: list[SessionInfo]


# -- tasks


class TaskOptions(NamedTuple):
    """What tasks have instead of what their session says; None for what it says."""

    timeout_s: float | None = None
    max_retries: int | None = None


class SubmitBatch(msgspec.Struct, array_like=True):
    """flame.task.submit (msgpack): tasks of one session, numbered by their client from first_number on.

    client, if not empty, names whose numbers these are: the same ones again make no new tasks. stream is the
    matchtag of the sender's flame.session.results request, where their results go.
    Sent with NORESPONSE a refusal arrives on that stream; otherwise the answer is Submitted, sent
    when the tasks are safely kept. The last two are those of TaskOptions, for all of the batch.
    """

    session: str
    stream: int
    first_number: int
    inputs: list[bytes | None]
    client: str = ""
    timeout_s: float | None = None
    max_retries: int | None = None


class Submitted(msgspec.Struct):
    """The answer to flame.task.submit: the tasks' ids are consecutive from first_task on."""

    first_task: int
    creation_time_ms: int


class ResultBatch(msgspec.Struct, array_like=True):
    """A response on flame.session.results (msgpack).

    results: (number, state, output, message) with the client's own task numbers. refused:
    (first number, count, code, message) for submissions that became no tasks. unknown, told once to who
    comes back with unanswered numbers: (first, count) of those that became no task, to be submitted again.
    """

    results: list[tuple[int, int, bytes | None, str | None]]
    refused: list[tuple[int, int, int, str]] = []
    unknown: list[tuple[int, int]] | None = None


class TaskRef(msgspec.Struct):
    """flame.task.get; flame.task.watch (a stream of TaskInfo until the task has ended)."""

    session: str
    task: int


class CancelTasks(msgspec.Struct):
    """flame.task.cancel: tasks by id, and by the numbers that the sender gave them on its own stream of results."""

    session: str
    tasks: list[int] = []
    stream: int = 0
    numbers: list[int] = []


class CancelledTasks(msgspec.Struct):
    """The answer to flame.task.cancel: those that had not ended yet, by id."""

    cancelled: list[int]


class Unwatch(msgspec.Struct):
    """flame.task.unwatch: ends the sender's own flame.task.watch request of that matchtag."""

    matchtag: int


class ListTasks(msgspec.Struct):
    """flame.task.list: a page in the order of ids, those greater than after."""

    session: str
    after: int = 0
    limit: int = 500


class TaskInfo(msgspec.Struct):
    """The answer to flame.task.get, an element of TaskList, a response on flame.task.watch."""

    task: int
    session: str
    state: TaskState
    creation_time_ms: int
    completion_time_ms: int | None
    input: bytes | None
    output: bytes | None
    events: list[EventInfo]
    executor: str | None = None
    """The instance that has it, or had it last."""


class TaskList(msgspec.Struct):
    """The answer to flame.task.list; a page shorter than its limit may still not be the last one."""

    tasks: list[TaskInfo]
    complete: bool


# -- executors


class AttachExecutor(msgspec.Struct):
    """flame.executor.attach (streaming): the process is there; ExecutorOrder messages come back.

    session, if not empty: it serves this one already, since an earlier run of the instance, and holds these
    tasks of it, done or not.
    """

    executor: str
    session: str = ""
    holding: list[int] = []


class SessionContextInfo(msgspec.Struct, array_like=True):
    """What an instance learns on entering its session."""

    session: str
    application: str
    image: str | None
    command: str | None
    working_directory: str | None
    url: str | None
    common_data: bytes | None


class ExecutorOrder(msgspec.Struct, array_like=True):
    """A response on flame.executor.attach (msgpack): first the session to enter, then batches of tasks.

    The end of the stream (ENODATA) is the order to leave.
    """

    enter: SessionContextInfo | None
    tasks: list[tuple[int, bytes | None]] = []


class CompletionBatch(msgspec.Struct, array_like=True):
    """flame.executor.report (msgpack, NORESPONSE): what an executor did since its last report.

    entered: the instance has entered its session, or with failure set it could not. done: (task,
    output, error), error None when it succeeded. returned: tasks not begun, to be given to others.
    busy_s: seconds spent in the service for the tasks in done.
    """

    executor: str
    entered: bool = False
    failure: str | None = None
    done: list[tuple[int, bytes | None, str | None]] = []
    returned: list[int] = []
    busy_s: float = 0.0


class ExecutorInfo(msgspec.Struct):
    """One executor, for people."""

    executor: str
    state: int
    session: str
    application: str
    pid: int | None
    resreq: ResourceRequirement
    running: int
    node: str
    """The name of the node that it is on."""
    shim: Shim


class ExecutorList(msgspec.Struct):
    """The answer to flame.executor.list."""

    executors: list[ExecutorInfo]


class ListLogs(msgspec.Struct):
    """flame.session.logs: of all instances of a session, of one, or of the one that has or had a task.

    Those whose number is greater than after.
    """

    session: str
    executor: str | None = None
    task: int | None = None
    after: int = 0


class InstanceLogInfo(msgspec.Struct):
    """The last part of what an instance wrote to stdout or stderr. number: in the order of their start."""

    number: int
    executor: str
    stream: str
    data: bytes
    is_running: bool
    truncated: bool
    started_ms: int
    ended_ms: int | None


class LogList(msgspec.Struct):
    """The answer to flame.session.logs: both streams of each instance, stdout first."""

    logs: list[InstanceLogInfo]
    complete: bool


# -- nodes


class NodeInfo(msgspec.Struct):
    """The answer to flame.node.get: a machine that runs executors. Its state is a number of Flame's NodeState."""

    node: str
    hostname: str
    state: int
    capacity: ResourceRequirement
    allocatable: ResourceRequirement
    arch: str
    os: str
    last_heartbeat_time_ms: int


class NodeList(msgspec.Struct):
    """The answer to flame.node.list."""

    nodes: list[NodeInfo]


# -- objects


class WriteObject(msgspec.Struct, array_like=True):
    """flame.object.put, .update and .patch (msgpack): bytes to keep.

    key is ``<app>/<session>`` for put, which makes an object there, and a full key for the others.
    """

    key: str
    data: bytes


class ObjectInfo(msgspec.Struct):
    """The answer to flame.object.put, .update and .patch: what an ObjectRef holds. version is the new one."""

    endpoint: str
    key: str
    version: int


class GetObject(msgspec.Struct):
    """flame.object.get. version and epoch are those of an ObjectData that the client still has, 0 for none."""

    key: str
    version: int = 0
    epoch: str = ""


class ObjectData(msgspec.Struct, array_like=True):
    """The answer to flame.object.get (msgpack), to be put on top of what the client said that it has.

    base null: it stands. patches: (version, data) in their order, all of them with a base, else the new ones.
    Versions mean the same only within one epoch, which is the life of one store.
    """

    epoch: str
    version: int
    base: bytes | None
    patches: list[tuple[int, bytes]]


class DeleteObjects(msgspec.Struct):
    """flame.object.delete: a full key, ``<app>/<session>`` for all below, or ``<app>/*`` for all of an application."""

    key: str


class ObjectsDeleted(msgspec.Struct):
    """The answer to flame.object.delete: how many there were."""

    count: int


# -- the instance


class InstanceStatus(msgspec.Struct):
    """The answer to flame.status: the instance at a glance."""

    uri: str
    pid: int
    version: str
    uptime_s: float
    capacity: ResourceRequirement
    free: ResourceRequirement
    applications: int
    open_sessions: int
    closed_sessions: int
    pending: int
    running: int
    executors: int
    connections: int
