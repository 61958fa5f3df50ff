# SPDX-License-Identifier: Apache-2.0
"""What the engine wants done. The shell carries these out in order and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hearth.engine.model import Executor, Session, Subscription, Task

__all__ = [
    "Action",
    "DeliverResults",
    "DismissExecutor",
    "DispatchTasks",
    "EnterSession",
    "KillExecutor",
    "LaunchExecutor",
    "RecallResults",
    "SessionClosed",
    "TellWatcher",
]


@dataclass(frozen=True, slots=True)
class LaunchExecutor:
    """Start a process for the session's application; report its end with `Engine.executor_exited`."""

    executor: Executor


@dataclass(frozen=True, slots=True)
class EnterSession:
    """Tell the attached process which session to enter."""

    executor: Executor


@dataclass(frozen=True, slots=True)
class DispatchTasks:
    """Send these tasks to the executor."""

    executor: Executor
    tasks: list[Task]


@dataclass(frozen=True, slots=True)
class DismissExecutor:
    """Tell the attached process to leave its session and end."""

    executor: Executor


@dataclass(frozen=True, slots=True)
class KillExecutor:
    """End the process now."""

    executor: Executor


@dataclass(frozen=True, slots=True)
class DeliverResults:
    """Something waits in the subscription; take it when its client can receive."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class RecallResults:
    """Read what these ended tasks have put out from the store, and say it with `Tasks.recalled`."""

    subscription: Subscription
    session: Session
    tasks: list[Task]


@dataclass(frozen=True, slots=True)
class TellWatcher:
    """The watched task has a new state; task is a copy of what it was then."""

    watcher: Hashable
    session: Session
    task: Task


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session that was closing is closed now: answer those who asked for it."""

    session: Session


Action: TypeAlias = (
    LaunchExecutor
    | EnterSession
    | DispatchTasks
    | DismissExecutor
    | KillExecutor
    | DeliverResults
    | RecallResults
    | TellWatcher
    | SessionClosed
)
