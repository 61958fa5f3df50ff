# SPDX-License-Identifier: Apache-2.0
"""What becomes of the tasks that an executor had in its hands when it died."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from hearth.engine.events import EventCode
from hearth.engine.model import EventRecord

if TYPE_CHECKING:
    from hearth.engine.model import Executor, Session, Task
    from hearth.engine.state import State
    from hearth.engine.tasks import Tasks

__all__ = ["Retries"]

_DOUBLINGS_MAX = 6
"""Of the pause before an attempt: 50 ms become 3.2 s, long for a task and short for whoever waits for it."""


class Retries:
    """The second and later attempts of one engine's tasks."""

    def __init__(self, state: State, tasks: Tasks) -> None:
        self._state = state
        self._tasks = tasks

    def abandon(self, executor: Executor, reason: str, now: float) -> None:
        """An executor died with tasks in its hands.

        Held alone, a task is to blame: that was one attempt of its few. Held together nobody knows which
        one it was: all wait again, and each runs alone next time.
        """
        was_alone = len(executor.in_flight) == 1
        executor.bury(list(executor.in_flight))
        if was_alone:
            for task in executor.in_flight.values():  # at most one: it may have been cancelled
                self._end_attempt(executor, task, reason, now)
                return
        for task in self._tasks.put_back(executor, list(executor.in_flight)):
            task.is_suspect = True
            self._tell_returned(executor.session, task, f": {reason}", now)

    def _end_attempt(self, executor: Executor, task: Task, reason: str, now: float) -> None:
        session = executor.session
        task.attempts += 1
        most = 1 + self._retries_of(session, task)
        if task.attempts >= most:
            text = reason if task.attempts == 1 else f"given up after {task.attempts} attempts: {reason}"
            self._tasks.record(executor, [(task.id, None, text)], now)
            return
        self._tasks.take_back(executor, [task.id])
        task.is_suspect = True
        self._tell_returned(session, task, f" after attempt {task.attempts} of {most}: {reason}", now)
        session.delayed[task.id] = task
        pause_s = self._state.limits.retry_backoff_s * 2 ** min(task.attempts - 1, _DOUBLINGS_MAX)
        self._state.call_at(now + pause_s, functools.partial(self._resume, session, task))

    def _resume(self, session: Session, task: Task, now: float) -> None:
        if session.delayed.pop(task.id, None) is not None:  # else it was cancelled, or its session gave up
            self._tasks.queue(session, [task])

    def _tell_returned(self, session: Session, task: Task, how: str, now: float) -> None:
        session.add_task_event(task, EventRecord(EventCode.RETURNED, f"Task was returned to <Pending>{how}", now))
        self._state.note_tasks(session, [task])

    def _retries_of(self, session: Session, task: Task) -> int:
        if task.options is not None and task.options.max_retries is not None:
            return task.options.max_retries
        if session.spec.max_retries is not None:
            return session.spec.max_retries
        return self._state.limits.max_retries
