# SPDX-License-Identifier: Apache-2.0
"""From the wire's structs to the SDK's data types: one converter a type."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.types import Application, Event, InstanceLog, Shim, Task, TaskState
from flamepy.protocol import TASK_CREATED_TEXT, Submitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flamepy.protocol import ApplicationInfo, EventInfo, InstanceLogInfo, TaskInfo

__all__ = ["application_of", "event_of", "logs_of", "submitted_task", "task_of", "time_of"]


def time_of(milliseconds: int) -> datetime:
    """UTC milliseconds as an aware datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def event_of(info: EventInfo) -> Event:
    """One event."""
    return Event(info.code, info.message, time_of(info.creation_time_ms))


def task_of(info: TaskInfo) -> Task:
    """A task snapshot."""
    return Task(
        id=str(info.task),
        session_id=info.session,
        state=info.state,
        creation_time=time_of(info.creation_time_ms),
        input=info.input,
        output=info.output,
        completion_time=None if info.completion_time_ms is None else time_of(info.completion_time_ms),
        events=[event_of(event) for event in info.events],
        executor=info.executor,
    )


def logs_of(infos: Sequence[InstanceLogInfo]) -> list[InstanceLog]:
    """The logs of instances, of which each comes as its stdout and its stderr."""
    return [
        InstanceLog(
            executor=stdout.executor,
            stdout=stdout.data,
            stderr=stderr.data,
            is_running=stdout.is_running,
            is_truncated=stdout.truncated or stderr.truncated,
            creation_time=time_of(stdout.started_ms),
            completion_time=None if stdout.ended_ms is None else time_of(stdout.ended_ms),
        )
        for stdout, stderr in zip(infos[::2], infos[1::2], strict=True)
    ]


def application_of(info: ApplicationInfo) -> Application:
    """A registered application; what was not said is None, except the shim, which is HOST."""
    fields = {field.name: getattr(info.attributes, field.name) for field in dataclasses.fields(info.attributes)}
    if fields["shim"] is None:
        fields["shim"] = Shim.HOST
    return Application(
        id=info.name, name=info.name, state=info.state, creation_time=time_of(info.creation_time_ms), **fields
    )


def submitted_task(session_id: str, input_data: bytes, answer: bytes) -> Task:
    """The task that flame.task.submit has made of this input."""
    made = msgspec.json.decode(answer.rstrip(b"\0"), type=Submitted)
    created = time_of(made.creation_time_ms)
    return Task(
        id=str(made.first_task),
        session_id=session_id,
        state=TaskState.PENDING,
        creation_time=created,
        input=input_data,
        events=[Event(0, TASK_CREATED_TEXT, created)],
    )
