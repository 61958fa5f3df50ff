# SPDX-License-Identifier: Apache-2.0
"""What the engine keeps, as the wire shows it: one converter a type."""

from __future__ import annotations

import msgspec

from flamepy.core.types import ApplicationState, SessionState, Shim, TaskState
from flamepy.protocol import (
    TASK_CREATED_TEXT,
    ApplicationInfo,
    EventInfo,
    ExecutorInfo,
    SessionContextInfo,
    SessionInfo,
    TaskInfo,
)
from hearth.engine.events import EventCode
from hearth.engine.model import Application, EventRecord, Executor, Session, Task

__all__ = [
    "application_info",
    "executor_info",
    "milliseconds",
    "session_context_info",
    "session_info",
    "task_info",
    "without_common_data",
]


def milliseconds(seconds: float) -> int:
    """UTC seconds as UTC milliseconds."""
    return round(seconds * 1000)


def application_info(application: Application) -> ApplicationInfo:
    """For flame.application.get and .list."""
    return ApplicationInfo(
        application.name, ApplicationState.ENABLED, milliseconds(application.created), application.attributes
    )


def session_info(session: Session) -> SessionInfo:
    """For every answer about a session."""
    return SessionInfo(
        session=session.id,
        state=session.state,
        creation_time_ms=milliseconds(session.created),
        completion_time_ms=None if session.completed is None else milliseconds(session.completed),
        spec=msgspec.structs.replace(session.spec, resreq=session.resources.requirement()),
        pending=session.waiting,
        running=session.running,
        succeed=session.succeed,
        failed=session.failed,
        cancelled=session.cancelled,
        events=[_event_info(event) for event in session.events],
        closing=session.is_closing and session.state is SessionState.OPEN,
    )


def without_common_data(info: SessionInfo) -> SessionInfo:
    """The same for who looks at many sessions: common data may be the heaviest part of all."""
    info.spec = msgspec.structs.replace(info.spec, common_data=None)
    return info


def task_info(session: Session, task: Task, data: tuple[bytes | None, bytes | None] | None = None) -> TaskInfo:
    """For every answer about a task. data: its input and output, if they are not in memory."""
    input_, output = (task.input, task.output) if data is None else data
    is_forgotten = task.is_forgotten and data is None
    return TaskInfo(
        task=task.id,
        session=session.id,
        state=task.state,
        creation_time_ms=milliseconds(task.created),
        completion_time_ms=milliseconds(task.completed) if task.completed else None,
        input=input_,
        output=output,
        events=[_event_info(event) for event in _task_events(session, task, is_forgotten=is_forgotten)],
        executor=task.executor,
    )


def _task_events(session: Session, task: Task, *, is_forgotten: bool) -> list[EventRecord]:
    """The ordinary events, from the task's times, among those that befell it."""
    events = [EventRecord(EventCode.CREATED, TASK_CREATED_TEXT, task.created)]
    if task.started:
        events.append(EventRecord(EventCode.RUNNING, "Task state was updated to <Running>", task.started))
    if task.state is TaskState.SUCCEED:
        events.append(EventRecord(EventCode.SUCCEEDED, "Task was completed with state <Succeed>", task.completed))
    elif task.state is TaskState.FAILED:
        events.append(EventRecord(EventCode.FAILED, task.message or "Task failed with state <Failed>", task.completed))
    elif task.state is TaskState.CANCELLED:
        events.append(EventRecord(EventCode.CANCELLED, f"Task was {task.message}", task.completed))
    events += session.task_events.get(task.id, [])
    events.sort(key=lambda event: event.time)
    if is_forgotten:
        text = "Input and output were dropped: the instance had reached its memory bound"
        events.append(EventRecord(EventCode.FORGOTTEN, text, task.completed))
    return events


def _event_info(event: EventRecord) -> EventInfo:
    return EventInfo(event.code, event.message, milliseconds(event.time))


def executor_info(executor: Executor, node: str, pid: int | None) -> ExecutorInfo:
    """For flame.executor.list: with the name of its node, and its process if that is on this machine."""
    session = executor.session
    return ExecutorInfo(
        executor=executor.id,
        state=executor.state,
        session=session.id,
        application=session.application.name,
        pid=pid,
        resreq=session.resources.requirement(),
        running=len(executor.in_flight) - len(executor.ghosts),
        node=node,
        shim=session.application.attributes.shim or Shim.HOST,
    )


def session_context_info(session: Session) -> SessionContextInfo:
    """What an instance is told on entering the session."""
    attributes = session.application.attributes
    return SessionContextInfo(
        session=session.id,
        application=session.application.name,
        image=attributes.image,
        command=attributes.command,
        working_directory=attributes.working_directory,
        url=attributes.url,
        common_data=session.spec.common_data,
    )
