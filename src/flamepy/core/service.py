# SPDX-License-Identifier: Apache-2.0
"""The service side as an author sees it: a class with three methods, and what they are told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ApplicationContext", "FlameService", "ServiceFailure", "SessionContext", "TaskContext"]


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


class ServiceFailure(Exception):
    """Raised by a service to fail with this text alone; of other exceptions type and place are told, too."""


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
