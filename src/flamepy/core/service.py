# SPDX-License-Identifier: Apache-2.0
"""The service side: a class with three methods, and `run`, which serves one session with it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from flamepy.core.types import FlameError, FlameErrorCode
from flux.connector import connect

__all__ = ["FLAME_INSTANCE_ENDPOINT", "ApplicationContext", "FlameService", "SessionContext", "TaskContext", "run"]

FLAME_INSTANCE_ENDPOINT = "FLAME_INSTANCE_ENDPOINT"
"""The environment variable that tells a service process where to call in."""

_EXECUTOR_ID = "FLAME_EXECUTOR_ID"


@dataclass
class ApplicationContext:
    """The application, as registered."""

    name: str
    image: str | None = None
    command: str | None = None
    working_directory: str | None = None
    url: str | None = None


@dataclass
class SessionContext:
    """The session that this instance serves."""

    _common_data: bytes | None
    session_id: str
    application: ApplicationContext

    def common_data(self) -> bytes | None:
        """The data given when the session was made, None if there was none."""
        return self._common_data


@dataclass
class TaskContext:
    """One task: its id (decimal, from 1 on), its session and its input."""

    task_id: str
    session_id: str
    input: bytes | None


class FlameService:
    """Base class of a service. One object serves one session, one task at a time, in a process of its own.

    State kept in the object lives from on_session_enter to on_session_leave and is shared with nobody.
    """

    def on_session_enter(self, context: SessionContext) -> None:
        """Called once, before the first task. Raising means that this instance cannot serve the session."""

    def on_task_invoke(self, context: TaskContext) -> bytes | None:
        """Called for each task; returns its output.

        Raising fails the task with the exception's type and text; instance and session go on.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what a task does: define on_task_invoke")

    def on_session_leave(self) -> None:
        """Called once at the end."""


def run(service: FlameService) -> None:
    """Serve one session; returns when it is over, and the process should then end.

    Call it in a process that an instance has started. Raises FlameError INTERNAL if it was not, or if
    the instance does not answer. If the connection breaks, the process is ended by SIGTERM.
    """
    for variable in (FLAME_INSTANCE_ENDPOINT, _EXECUTOR_ID):
        if not os.environ.get(variable):
            raise FlameError(
                FlameErrorCode.INTERNAL,
                f"{variable} is not set: a service is started by an instance; register its command as an application"
                " and create a session of it",
            )
    from flamepy.core.executor import Executor  # a client never needs it, and it needs the classes above

    uri = os.environ[FLAME_INSTANCE_ENDPOINT]
    try:
        stream = connect(uri)
    except OSError as error:
        raise FlameError(FlameErrorCode.INTERNAL, f"the instance at {uri} does not answer: {error}") from error
    with stream:
        Executor(service, stream, os.environ[_EXECUTOR_ID]).serve()
