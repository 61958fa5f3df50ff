# SPDX-License-Identifier: Apache-2.0
"""How long the task at work in each executor may take: its timeout, or the grace of a cancelled one.

The engine sees no single task begin: it knows that a process takes its tasks in the order of their
dispatch, and when it was told that the one before was done. That is some milliseconds late at most.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from hearth.engine.lifecycle import ExecutorState

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.engine.model import Executor, Session, Task
    from hearth.engine.state import State

__all__ = ["Deadlines", "timeout_of"]

_LOOK_S = 60.0
"""At the latest: a look on the agenda keeps executor and session in memory, also when both are long gone."""

_AT_WORK = (ExecutorState.BOUND, ExecutorState.UNBINDING)


class Deadlines:
    """One entry on the agenda for each executor, moved on by itself. Set on_overdue before the first step."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.on_overdue: Callable[[Executor, float], None]

    def begin(self, executor: Executor, now: float) -> None:
        """Another task is the one at work from now on, or it has just been cancelled."""
        executor.at_work_since = now
        self._look_later(executor, now)

    def _look_later(self, executor: Executor, now: float) -> None:
        due = self._due(executor)
        if due is None:
            return
        when = min(due, now + _LOOK_S)
        if executor.look_at is None or when < executor.look_at:
            executor.look_at = when
            self._state.call_at(when, functools.partial(self._look, executor, when))

    def _look(self, executor: Executor, when: float, now: float) -> None:
        if executor.look_at != when:
            return  # an earlier look took its place
        executor.look_at = None
        due = self._due(executor)
        if due is not None and due <= now:
            self.on_overdue(executor, now)
        else:
            self._look_later(executor, now)

    def _due(self, executor: Executor) -> float | None:
        """When the task at work will have taken too long; None if it may go on for ever."""
        task = executor.task_at_work
        if task is None or executor.state not in _AT_WORK:
            return None
        if task.id in executor.ghosts:
            return executor.at_work_since + self._state.limits.cancel_grace_s
        timeout_s = timeout_of(executor.session, task)
        return None if timeout_s is None else executor.at_work_since + timeout_s


def timeout_of(session: Session, task: Task) -> float | None:
    """How many seconds a task may be at work."""
    if task.options is not None and task.options.timeout_s is not None:
        return task.options.timeout_s
    return session.spec.timeout_s
