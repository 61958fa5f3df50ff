# SPDX-License-Identifier: Apache-2.0
"""What the engine keeps, as rows, and back: one converter a type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import msgspec

from flamepy.core.types import ApplicationAttributes, ResourceRequirement, SessionState, TaskState
from flamepy.protocol import SessionSpec, TaskOptions  # noqa: TC001 msgspec reads the annotation
from hearth.engine.model import Application, EventRecord, Resources, Session, Stored, Task
from hearth.engine.submitters import Submitter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearth.engine.changes import Changes

__all__ = [
    "Batch",
    "application_of",
    "batch_of",
    "check_input",
    "check_output",
    "first_key",
    "restore_end",
    "restore_progress",
    "restore_task",
    "session_of",
]

TASK_BITS = 32
_CHECKSUM_BYTES = 4

_T = TypeVar("_T")


class _Application(msgspec.Struct, array_like=True):
    attributes: ApplicationAttributes
    created: float


class _Session(msgspec.Struct, array_like=True):
    spec: SessionSpec
    resources: ResourceRequirement
    state: SessionState
    created: float
    completed: float | None = None
    events: list[tuple[int, str, float]] = []
    submitters: list[str] = []
    is_closing: bool = False


class _Task(msgspec.Struct, array_like=True, gc=False):
    submitter: int
    number: int
    created: float
    input_checksum: int
    options: TaskOptions | None = None


class _Ended(msgspec.Struct, array_like=True, gc=False):
    state: int
    started: float
    completed: float
    message: str | None
    executor: str | None
    output_checksum: int


class _Progress(msgspec.Struct, array_like=True):
    """What befell a task on its way."""

    events: list[tuple[int, str, float]] = []
    attempts: int = 0
    is_suspect: bool = False


@dataclass(slots=True)
class Batch:
    """Rows of one transaction, those of tasks as flat lists of three parameters each."""

    applications: list[tuple[str, bytes | None]] = field(default_factory=list)
    sessions: list[tuple[int, str, bytes]] = field(default_factory=list)
    tasks: list[Any] = field(default_factory=list)
    progress: list[tuple[int, bytes]] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    """Keys of sessions."""

    def add(self, later: Batch) -> None:
        """Take over the rows of a batch that comes after this one."""
        self.applications += later.applications
        self.sessions += later.sessions
        self.tasks += later.tasks
        self.progress += later.progress
        self.ended += later.ended
        self.gone += later.gone


_encode = msgspec.msgpack.Encoder().encode


class _Decoder(msgspec.Struct):
    """Reads data of one type, and refuses what was not written so."""

    decoder: msgspec.msgpack.Decoder[Any]

    def __call__(self, data: bytes, key: int) -> Any:
        body = data[:-_CHECKSUM_BYTES]
        if crc32(body, key & 0xFFFFFFFF) != int.from_bytes(data[-_CHECKSUM_BYTES:], "big"):
            raise ValueError(f"a record of number {key} is damaged")
        return self.decoder.decode(body)


_application = _Decoder(msgspec.msgpack.Decoder(_Application))
_session = _Decoder(msgspec.msgpack.Decoder(_Session))
_task = _Decoder(msgspec.msgpack.Decoder(_Task))
_ended = _Decoder(msgspec.msgpack.Decoder(_Ended))
_progress = _Decoder(msgspec.msgpack.Decoder(_Progress))


def _seal(record: msgspec.Struct, key: int) -> bytes:
    """The record with a checksum of itself and its key: it must be found where it was put."""
    body = _encode(record)
    return body + crc32(body, key & 0xFFFFFFFF).to_bytes(_CHECKSUM_BYTES, "big")


def first_key(session_key: int) -> int:
    """The key of a session's task 0, which there is none of; its tasks follow."""
    return session_key << TASK_BITS


def batch_of(changes: Changes) -> Batch:
    """The rows of what has changed. From here on its tasks count as stored in the state that they have now."""
    batch = Batch(
        [(name, _application_data(each)) for name, each in changes.applications.items()],
        [(session.key, session.id, _session_data(session)) for session in changes.sessions.values()],
        gone=[session.key for session in changes.gone],
    )
    for session, tasks in (*changes.created, *changes.tasks):
        _add_tasks(batch, session, tasks)
    return batch


def _add_tasks(batch: Batch, session: Session, tasks: Iterable[Task]) -> None:
    """Whatever came and ended between two transactions is written once."""
    base = first_key(session.key)
    new, ended, task_events = batch.tasks, batch.ended, session.task_events
    for task in tasks:
        key = base + task.id
        if task.stored is Stored.NOT:
            data = task.input
            record = _Task(task.submitter, task.number, task.created, crc32(data or b""), task.options)
            new += (key, _seal(record, key), data)
            task.stored = Stored.WAITING
        if task_events and task.stored is Stored.WAITING and task.id in task_events:
            events = list(map(tuple, task_events[task.id]))
            progress = _Progress(events, task.attempts, task.is_suspect)  # type: ignore[arg-type]  # of three each
            batch.progress.append((key, _seal(progress, key)))
        if task.state >= TaskState.SUCCEED and task.stored is Stored.WAITING:
            data = task.output
            end = _Ended(int(task.state), task.started, task.completed, task.message, task.executor, crc32(data or b""))
            ended += (key, _seal(end, key), data)
            task.stored = Stored.ENDED


def _application_data(application: Application | None) -> bytes | None:
    return None if application is None else _seal(_Application(application.attributes, application.created), 0)


def _session_data(session: Session) -> bytes:
    record = _Session(
        session.spec,
        session.resources.requirement(),
        session.state,
        session.created,
        session.completed,
        list(map(tuple, session.events)),  # type: ignore[arg-type]  # of three: an EventRecord is a NamedTuple
        list(session.submitters),
        session.is_closing,
    )
    return _seal(record, session.key)


# -- back: each raises ValueError for what is not as it was written (msgspec's errors are ValueErrors)


def application_of(name: str, data: bytes) -> Application:
    """A registered recipe."""
    stored: _Application = _application(data, 0)
    return Application(name, stored.attributes, stored.created, is_stored=True)


def session_of(key: int, session_id: str, data: bytes, applications: dict[str, Application]) -> Session:
    """The session without its tasks."""
    stored: _Session = _session(data, key)
    application = applications.get(stored.spec.application)
    if application is None:
        raise ValueError(f"session {session_id!r} is of application {stored.spec.application!r}, which is missing")
    session = Session(session_id, stored.spec, application, Resources.of(stored.resources), stored.created)
    session.key = key
    session.is_stored = True
    session.state = stored.state
    session.completed = stored.completed
    session.events = [EventRecord(*event) for event in stored.events]
    for name in stored.submitters:
        session.submitters[name] = Submitter(name, len(session.submitters) + 1)
    session.is_closing = stored.is_closing
    return session


def restore_task(task_id: int, key: int, data: bytes) -> Task:
    """A task that waits, still without its input."""
    stored: _Task = _task(data, key)
    return Task(
        task_id,
        stored.number,
        None,
        None,
        stored.created,
        stored.submitter,
        options=stored.options,
        stored=Stored.WAITING,
    )


def check_input(key: int, data: bytes, value: bytes | None) -> bytes | None:
    """The input that belongs to the data of a task."""
    stored: _Task = _task(data, key)
    return _check(key, value, stored.input_checksum)


def check_output(key: int, data: bytes, value: bytes | None) -> bytes | None:
    """The output that belongs to the data of an ended task."""
    stored: _Ended = _ended(data, key)
    return _check(key, value, stored.output_checksum)


def _check(key: int, value: bytes | None, checksum: int) -> bytes | None:
    if crc32(value or b"") != checksum:
        raise ValueError(f"input or output of number {key} is damaged")
    return value


def restore_end(task: Task, key: int, data: bytes) -> None:
    """It has ended; what it holds of the user's data stays in the store."""
    stored: _Ended = _ended(data, key)
    task.state = TaskState(stored.state)
    task.started, task.completed, task.message = stored.started, stored.completed, stored.message
    task.executor = stored.executor
    task.is_forgotten = True
    task.stored = Stored.ENDED


def restore_progress(session: Session, task: Task, key: int, data: bytes) -> None:
    """What befell it on its way."""
    stored: _Progress = _progress(data, key)
    session.task_events[task.id] = [EventRecord(*event) for event in stored.events]
    task.attempts, task.is_suspect = stored.attempts, stored.is_suspect
