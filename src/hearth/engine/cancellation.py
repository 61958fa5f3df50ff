# SPDX-License-Identifier: Apache-2.0
"""Tasks that nobody wants any more: cancelled at once for everyone who looks, whatever their executor is doing."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from flamepy.core.types import TaskState
from hearth.engine.lifecycle import TaskEvent

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Iterator, Sequence

    from hearth.engine.deadlines import Deadlines
    from hearth.engine.model import Session, Subscription, Task
    from hearth.engine.state import State
    from hearth.engine.tasks import Tasks

__all__ = ["Cancellation"]


class Cancellation:
    """Cancels the tasks of one engine.

    A cancelled task that an executor holds stays in its hands as a ghost: nobody waits for the answer. Is it
    still the one at work after a grace (`Deadlines`), its executor is killed, to be of use again.
    """

    def __init__(self, state: State, tasks: Tasks, deadlines: Deadlines) -> None:
        self._state = state
        self._tasks = tasks
        self._deadlines = deadlines

    def cancel(self, session_id: str, task_ids: Iterable[int], now: float) -> list[int]:
        """Cancel tasks by id; returns those that had not ended.

        Raises FlameError NOT_FOUND for the session or any of the tasks, and then nothing has changed.
        """
        session = self._state.session(session_id)
        tasks = [self._tasks.get(session_id, task_id)[1] for task_id in dict.fromkeys(task_ids)]
        return self._cancel(session, tasks, "cancelled", now)

    def cancel_numbers(
        self, session_id: str, subscription: Subscription, numbers: Iterable[int], now: float
    ) -> list[int]:
        """Cancel tasks by the numbers that the client of a stream gave them; those of no unfinished task are ignored.

        Raises FlameError NOT_FOUND for the session.
        """
        session = self._state.session(session_id)
        tasks: list[Task] = []
        for number in dict.fromkeys(numbers):
            task_id = subscription.submitter.task_of(number)
            if task_id is not None:
                tasks.append(session.tasks[task_id - 1])
        return self._cancel(session, tasks, "cancelled", now)

    def cancel_all(self, session: Session, now: float) -> None:
        """The session closes: what has not ended never will."""
        self._cancel(session, list(_unfinished(session)), "cancelled: its session was closed", now)

    def disown(self, session: Session, tasks: Sequence[Task], reason: str, now: float) -> None:
        """These could not be stored, and nobody was told that they exist: they fail, whoever holds them."""
        self._tasks.refuse_unfinished(tasks, reason)
        session.failed += len(self._end(session, tasks, TaskEvent.FAILED, reason, now))

    def _cancel(self, session: Session, tasks: Iterable[Task], message: str, now: float) -> list[int]:
        cancelled = self._end(session, tasks, TaskEvent.CANCELLED, message, now)
        session.cancelled += len(cancelled)
        return cancelled

    def _end(self, session: Session, tasks: Iterable[Task], event: TaskEvent, message: str, now: float) -> list[int]:
        """Give those of the tasks that have not ended their end, wherever they are; returns their ids."""
        unfinished = [task for task in tasks if task.state < TaskState.SUCCEED]
        queued: list[Task] = []
        for task in unfinished:
            if task.state is TaskState.RUNNING:
                self._leave_ghost(session, task, now)
            elif session.delayed.pop(task.id, None) is None:
                queued.append(task)
        _take_out(session.pending, queued)
        self._tasks.end(session, unfinished, event, message, now)
        return [task.id for task in unfinished]

    def _leave_ghost(self, session: Session, task: Task, now: float) -> None:
        executor = next(each for each in session.executors.values() if each.in_flight.get(task.id) is task)
        executor.ghosts.add(task.id)
        session.running -= 1
        if executor.task_at_work is task:
            self._deadlines.begin(executor, now)


def _unfinished(session: Session) -> Iterator[Task]:
    """The tasks that have not ended, without looking at all the others."""
    yield from session.pending
    yield from session.delayed.values()
    for executor in session.executors.values():
        yield from (task for task in executor.in_flight.values() if task.id not in executor.ghosts)


def _take_out(pending: deque[Task], tasks: list[Task]) -> None:
    """Remove tasks from the queue, where they are in the order of their ids.

    What is cancelled together mostly stands together, so the queue is turned to where the first one is and
    looked through up to the last one: 0.1 ms in a hundred thousand, where making it anew takes 5.
    """
    if not tasks:
        return
    gone = {task.id for task in tasks}
    first, last = (bisect_left(pending, edge, key=lambda task: task.id) for edge in (min(gone), max(gone)))
    pending.rotate(-first)
    between = [pending.popleft() for _ in range(last - first + 1)]
    pending.extendleft(task for task in reversed(between) if task.id not in gone)
    pending.rotate(first)
