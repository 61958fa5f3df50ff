# SPDX-License-Identifier: Apache-2.0
"""Tasks from submission to answer, and the memory that they hold.

This is the hot path: work on whole batches, no object per task beyond the task itself.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode, SessionState, TaskState
from flamepy.protocol import MAX_COUNT, MAX_TASK_DATA_BYTES
from hearth.engine.actions import DeliverResults, DispatchTasks, RecallResults, TellWatcher
from hearth.engine.lifecycle import TASK_LIFE, TaskEvent
from hearth.engine.model import Executor, Session, Stored, Subscription, Task

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from flamepy.protocol import TaskOptions
    from hearth.engine.deadlines import Deadlines
    from hearth.engine.model import Result
    from hearth.engine.state import State
    from hearth.engine.submitters import Submitter

__all__ = ["Tasks", "check_options"]

IN_FLIGHT_BYTES = 4 << 20
"""Inputs in one executor's hands, beyond the first: a large window is for small tasks."""

_dispatched = TASK_LIFE[TaskEvent.DISPATCHED]
_succeeded = TASK_LIFE[TaskEvent.SUCCEEDED]
_failed = TASK_LIFE[TaskEvent.FAILED]
_returned = TASK_LIFE[TaskEvent.RETURNED]


class Tasks:
    """The tasks of one engine."""

    def __init__(self, state: State, deadlines: Deadlines) -> None:
        self._state = state
        self._deadlines = deadlines
        self._finished: deque[Task] = deque()
        """Those whose data may be dropped, oldest first; and some whose sessions are gone, without any data."""
        self._finished_gone = 0
        """How many of these."""
        self.held_bytes = 0
        """Inputs and outputs in memory."""
        self.waiting_bytes = 0
        """Of these, the inputs of tasks that have not ended: they cannot be dropped."""

    # -- in

    def submit(
        self,
        session_id: str,
        inputs: Sequence[bytes | None],
        subscription: Subscription | None,
        first_number: int,
        now: float,
        options: TaskOptions | None = None,
        client: str = "",
    ) -> int:
        """Add tasks to a session, all or none; returns the id of the first, the others follow.

        client: whose numbers these are. The same ones again make no new tasks. Raises FlameError NOT_FOUND;
        INVALID_ARGUMENT for options or an input out of bounds; INVALID_STATE if the session is closed or closing, or
        the instance holds as much as it may.
        """
        state = self._state
        session = state.open_session(session_id)
        submitter = self._submitter(session, client) if client else None
        if submitter is None and subscription is not None:
            submitter = subscription.submitter
        if submitter is not None and (known := _first_known(submitter, first_number, len(inputs))):
            return known
        if session.is_closing:
            raise FlameError(FlameErrorCode.INVALID_STATE, f"session {session_id!r} is closing and takes no more tasks")
        if options is not None:
            check_options(f"a task of session {session_id!r}", options.timeout_s, options.max_retries)
        size = sum(len(data) for data in inputs if data is not None)
        if size > MAX_TASK_DATA_BYTES:
            _check_sizes(inputs)
        self._make_room(size)
        self.held_bytes += size
        self.waiting_bytes += size
        tasks = session.tasks
        first = len(tasks) + 1
        index = 0 if submitter is None else submitter.index
        new = [Task(first + at, first_number + at, data, subscription, now, index) for at, data in enumerate(inputs)]
        if options is not None:
            for task in new:
                task.options = options
        tasks += new
        session.pending += new
        if submitter is not None:
            submitter.note(first_number, first, len(new))
        state.note_created(session, new)
        state.to_dispatch[session_id] = session
        if session.gave_up is not None and not session.alive:
            self.fail_waiting(session, session.gave_up, now)
        elif session.wanted > session.planned_for:
            state.is_placement_due = True
        return first

    def hold(self, tasks: Iterable[Task]) -> None:
        """Count what these waiting tasks hold, which came from the store."""
        size = sum(len(task.input or b"") for task in tasks)
        self.held_bytes += size
        self.waiting_bytes += size

    def _submitter(self, session: Session, client: str) -> Submitter:
        count = len(session.submitters)
        submitter = session.submitter(client)
        if len(session.submitters) != count:
            self._state.note_session(session)
        return submitter

    def _make_room(self, size: int) -> None:
        """Drop the data of finished tasks until size more fits; none at all if that would not be enough."""
        limit = self._state.limits.held_bytes
        if self.waiting_bytes + size > limit:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"the instance holds {self.waiting_bytes} bytes of waiting tasks, {size} more would pass its limit"
                f" of {limit}; wait for results before submitting more",
            )
        while self.held_bytes + size > limit:
            first = self._finished[0]
            if self._state.is_recorded and not first.is_forgotten and first.stored is not Stored.ENDED:
                return  # it will be in a moment: until then we hold a little more than we should
            task = self._finished.popleft()
            self._finished_gone -= task.is_forgotten
            self._forget(task)

    def _forget(self, task: Task) -> None:
        self.held_bytes -= task.size_bytes
        task.input = task.output = None
        task.is_forgotten = True

    def refuse(self, subscription: Subscription, first_number: int, count: int, error: FlameError) -> None:
        """Tell a client, on its stream, that these submissions became no tasks."""
        subscription.refused.append((first_number, count, int(error.code), error.message))
        self._make_ready(subscription)

    def refuse_unfinished(self, tasks: Iterable[Task], reason: str) -> None:
        """Tell the clients of tasks that have not ended that these could not be taken after all."""
        for task in tasks:
            subscription = task.subscription
            if subscription is None or task.state >= TaskState.SUCCEED:
                continue
            task.subscription = None
            refused = subscription.refused
            if refused and sum(refused[-1][:2]) == task.number and refused[-1][3] == reason:
                first, count, code, _ = refused.pop()
                refused.append((first, count + 1, code, reason))
            else:
                refused.append((task.number, 1, int(FlameErrorCode.INTERNAL), reason))
            self._make_ready(subscription)

    def lost(self, subscription: Subscription, tasks: list[Task], why: str) -> None:
        """What a RecallResults asked for cannot be read."""
        subscription.recalled -= len(tasks)
        subscription.refused += [(task.number, 1, int(FlameErrorCode.INTERNAL), why) for task in tasks]
        self._make_ready(subscription)

    # -- to executors and back

    def dispatch(self, session: Session, now: float) -> None:
        """Give waiting tasks to the session's executors, evenly, as far as their windows go."""
        pending = session.pending
        ready = [executor for executor in session.executors.values() if executor.credit > 0]
        if len(ready) > 1:
            ready.sort(key=_held)  # not behind other tasks while one is idle
        for index, executor in enumerate(ready):
            if not pending:
                return
            share = -(-len(pending) // (len(ready) - index))
            tasks = _take(pending, executor, min(share, executor.credit))
            if not tasks:
                continue
            was_at_work = bool(executor.in_flight)
            for task in tasks:
                task.state = _dispatched[task.state]
                task.started = now
                task.executor = executor.id
                executor.in_flight[task.id] = task
            if not was_at_work:
                self._deadlines.begin(executor, now)
            session.running += len(tasks)
            if session.watchers:
                self._tell_watchers(session, tasks)
            self._state.actions.append(DispatchTasks(executor, tasks))

    def take_over(self, executor: Executor, task_ids: Iterable[int], now: float) -> None:
        """These are in the executor's hands since before we were there, in the order in which it does them.

        Those that wait are its to do. The others have ended meanwhile, are with somebody else, or were never
        stored, and then their ids may be other tasks' by now: it gets nothing new until it is past these ghosts.
        """
        session = executor.session
        held = dict.fromkeys(task_ids)
        waiting = {task.id: task for task in session.pending if task.id in held and task.id <= session.restored}
        for task_id in held:
            task = waiting.get(task_id)
            if task is None:
                executor.haunt(Task(task_id, 0, None, None, now, state=TaskState.CANCELLED))
                continue
            task.state = _dispatched[task.state]
            task.started = now
            task.executor = executor.id
            executor.in_flight[task_id] = task
        if not waiting:
            return
        kept = [task for task in session.pending if task.id not in waiting]
        session.pending.clear()
        session.pending.extend(kept)
        session.running += len(waiting)
        if session.watchers:
            self._tell_watchers(session, list(waiting.values()))

    def record(self, executor: Executor, done: Iterable[tuple[int, bytes | None, str | None]], now: float) -> int:
        """Note an executor's answers, each once; answers to tasks it does not hold are ignored. Returns how many."""
        session, in_flight = executor.session, executor.in_flight
        finished: list[Task] = []
        failures = held = 0
        for task_id, output, error in done:
            task = in_flight.pop(task_id, None)
            if task is None:
                continue
            task.completed = now
            if error is None:
                task.state = _succeeded[task.state]
                if output is not None:
                    task.output = output
                    held += len(output)
            else:
                task.state = _failed[task.state]
                task.message = error
                failures += 1
            finished.append(task)
        session.running -= len(finished)
        session.failed += failures
        session.succeed += len(finished) - failures
        self.held_bytes += held
        self._finish(session, finished)
        return len(finished)

    def put_back(self, executor: Executor, task_ids: Iterable[int]) -> list[Task]:
        """Tasks that an executor held but did not do wait again, in their old order."""
        tasks = self.take_back(executor, task_ids)
        if tasks:
            self.queue(executor.session, tasks)
        return tasks

    def queue(self, session: Session, tasks: list[Task]) -> None:
        """Tasks that were taken back wait for an executor again, in their old order."""
        _merge(session.pending, tasks)
        self._state.to_dispatch[session.id] = session

    def take_back(self, executor: Executor, task_ids: Iterable[int]) -> list[Task]:
        """As `put_back`, but for the queue: the caller sees to it that they get there."""
        session = executor.session
        tasks = [executor.in_flight.pop(task_id) for task_id in task_ids if task_id in executor.in_flight]
        if not tasks:
            return tasks
        for task in tasks:
            task.state = _returned[task.state]
        session.running -= len(tasks)
        if session.watchers:
            self._tell_watchers(session, tasks)
        return tasks

    # -- ends without an executor

    def fail_waiting(self, session: Session, reason: str, now: float) -> None:
        """Nobody will ever do what waits."""
        tasks = [*session.pending, *session.delayed.values()]
        session.pending.clear()
        session.delayed.clear()
        session.failed += len(tasks)
        self.end(session, tasks, TaskEvent.FAILED, reason, now)

    def end(self, session: Session, tasks: list[Task], event: TaskEvent, message: str, now: float) -> None:
        """Give tasks a final state that no executor has told of; the caller has taken them from where they were."""
        life = TASK_LIFE[event]
        for task in tasks:
            task.state = life[task.state]
            task.completed = now
            task.message = message
        self._finish(session, tasks)

    def forget_session(self, session: Session) -> None:
        """The record of a closed session goes, and its data now.

        Its tasks stay in the line of the finished ones until half of these are such; to look through all of
        them for each session would take longer with each that ever was.
        """
        for task in session.tasks:
            if not task.is_forgotten:
                self._forget(task)
                self._finished_gone += 1
        if 2 * self._finished_gone > len(self._finished):
            self._finished = deque(task for task in self._finished if not task.is_forgotten)
            self._finished_gone = 0

    # -- out

    def _finish(self, session: Session, tasks: list[Task]) -> None:
        """These have their final state: put it on the streams of those who asked."""
        self._finished += tasks
        self._state.note_tasks(session, tasks)
        for task in tasks:
            if task.input is not None:
                self.waiting_bytes -= len(task.input)
            subscription = task.subscription
            if subscription is not None and subscription.is_live:
                if not subscription.is_ready:
                    self._make_ready(subscription)
                subscription.results.append((task.number, task.state, task.output, task.message))
                task.subscription = None
        if session.watchers:
            self._tell_watchers(session, tasks)

    def _make_ready(self, subscription: Subscription) -> None:
        if subscription.is_live and not subscription.is_ready:
            subscription.is_ready = True
            self._state.actions.append(DeliverResults(subscription))

    def subscribe(
        self, session_id: str, key: Hashable, client: str = "", asked: Sequence[tuple[int, int]] = ()
    ) -> Subscription:
        """Open a result stream.

        asked: numbers, as (first, count), that the client had submitted before its last stream broke. The
        results of those that became tasks come on this one, and it is told which did not. Raises FlameError
        NOT_FOUND; INVALID_STATE if the session is closed and nothing is asked.
        """
        session = self._state.session(session_id) if asked else self._state.open_session(session_id)
        subscription = Subscription(key, self._submitter(session, client) if client else None)
        if asked:
            self._resume(session, subscription, asked)
        if session.state is SessionState.OPEN:
            session.subscriptions.append(subscription)
        else:
            subscription.has_ended = True
        return subscription

    def _resume(self, session: Session, subscription: Subscription, asked: Sequence[tuple[int, int]]) -> None:
        """Give the client what it has missed, and what is to come."""
        submitter = subscription.submitter
        subscription.unknown = submitter.unknown(asked)
        dropped: list[Task] = []
        for first, count in asked:
            for _, task_id, length in submitter.known(first, count):
                for task in session.tasks[task_id - 1 : task_id - 1 + length]:
                    if task.state < TaskState.SUCCEED:
                        task.subscription = subscription
                    elif task.is_forgotten and task.state is TaskState.SUCCEED:
                        dropped.append(task)
                    else:
                        subscription.results.append((task.number, task.state, task.output, task.message))
        if dropped and self._state.is_recorded:
            subscription.recalled = len(dropped)
            self._state.actions.append(RecallResults(subscription, session, dropped))
        elif dropped:
            text = "its output was dropped: the instance had reached its memory bound"
            lost = [(task.number, 1, int(FlameErrorCode.INTERNAL), text) for task in dropped]
            subscription.refused += lost
        self._make_ready(subscription)

    def recalled(self, subscription: Subscription, results: list[Result]) -> None:
        """What a RecallResults asked for, in full."""
        subscription.recalled -= len(results)
        subscription.results += results
        self._make_ready(subscription)

    def end_subscriptions(self, session: Session) -> None:
        """The session is closed: what waits in its streams is the last."""
        for subscription in session.subscriptions:
            subscription.has_ended = True
            self._make_ready(subscription)
        session.subscriptions.clear()

    def unsubscribe(self, session_id: str, subscription: Subscription) -> None:
        """The client is gone: its tasks go on, their results are not sent."""
        subscription.is_live = False
        subscription.results.clear()
        subscription.refused.clear()
        session = self._state.sessions.get(session_id)
        if session is not None and subscription in session.subscriptions:
            session.subscriptions.remove(subscription)

    # -- one task

    def get(self, session_id: str, task_id: int) -> tuple[Session, Task]:
        """Raises FlameError NOT_FOUND."""
        session = self._state.session(session_id)
        if not 1 <= task_id <= len(session.tasks):
            raise FlameError(FlameErrorCode.NOT_FOUND, f"task {task_id} not found in session {session_id!r}")
        return session, session.tasks[task_id - 1]

    def page(self, session_id: str, after: int, limit: int) -> tuple[Session, list[Task]]:
        """Tasks in the order of their ids, from after + 1 on. Raises FlameError NOT_FOUND or INVALID_ARGUMENT."""
        session = self._state.session(session_id)
        if limit < 1:
            raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"limit of a page of tasks is {limit}, want 1 or more")
        after = max(0, after)
        return session, session.tasks[after : after + limit]

    def watch(self, session_id: str, task_id: int, watcher: Hashable) -> tuple[Session, Task]:
        """The task as it is now; until it has ended the watcher is told of each new state."""
        session, task = self.get(session_id, task_id)
        if task.state < TaskState.SUCCEED:
            session.watchers.setdefault(task_id, []).append(watcher)
        return session, task

    def unwatch(self, session_id: str, task_id: int, watcher: Hashable) -> None:
        """Tell the watcher no more."""
        session = self._state.sessions.get(session_id)
        watchers = session.watchers.get(task_id, []) if session is not None else []
        if session is not None and watcher in watchers:
            watchers.remove(watcher)
            if not watchers:
                del session.watchers[task_id]

    def _tell_watchers(self, session: Session, tasks: list[Task]) -> None:
        for task in tasks:
            for watcher in session.watchers.get(task.id, ()):
                self._state.actions.append(TellWatcher(watcher, session, copy.copy(task)))
            if task.state >= TaskState.SUCCEED:
                session.watchers.pop(task.id, None)


def _check_sizes(inputs: Iterable[bytes | None]) -> None:
    """Raise FlameError INVALID_ARGUMENT for one that could not be stored."""
    largest = max(len(data or b"") for data in inputs)
    if largest > MAX_TASK_DATA_BYTES:
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT,
            f"a task's input has {largest} bytes, at most {MAX_TASK_DATA_BYTES} are taken",
        )


def _first_known(submitter: Submitter, first_number: int, count: int) -> int:
    """The first task if these very numbers were submitted before, 0 if none was. Raises FlameError INVALID_ARGUMENT."""
    runs = list(submitter.known(first_number, count))
    if not runs:
        return 0
    if runs[0][0] == first_number and runs[0][2] == count:
        return runs[0][1]
    raise FlameError(
        FlameErrorCode.INVALID_ARGUMENT,
        f"the numbers {first_number} to {first_number + count - 1} were submitted before in part; number upwards",
    )


def _held(executor: Executor) -> int:
    return len(executor.in_flight)


def _merge(pending: deque[Task], returned: list[Task]) -> None:
    """Put tasks back among those that wait, which are in the order of their ids and stay so.

    Only tasks that were returned before can wait in front of these, so few are moved.
    """
    last = max(task.id for task in returned)
    front = list(returned)
    while pending and pending[0].id < last:
        front.append(pending.popleft())
    front.sort(key=lambda task: task.id, reverse=True)
    pending.extendleft(front)


def _take(pending: deque[Task], executor: Executor, most: int) -> list[Task]:
    """The next tasks for an executor: a suspect one alone, otherwise up to the byte bound."""
    if pending[0].is_suspect:
        return [] if executor.in_flight else [pending.popleft()]
    taken: list[Task] = []
    room = IN_FLIGHT_BYTES - sum(len(task.input or b"") for task in executor.in_flight.values())
    while pending and len(taken) < most and not pending[0].is_suspect:
        size = len(pending[0].input or b"")
        if size > room and (taken or executor.in_flight):
            break
        room -= size
        taken.append(pending.popleft())
    return taken


def check_options(of: str, timeout_s: float | None, max_retries: int | None) -> None:
    """Raise FlameError INVALID_ARGUMENT unless both are within bounds; `of` says whose they are."""
    problem = None
    if timeout_s is not None and not 0 < timeout_s <= MAX_COUNT:
        problem = f"timeout is {timeout_s} s, want more than 0, at most {MAX_COUNT}"
    elif max_retries is not None and not 0 <= max_retries <= MAX_COUNT:
        problem = f"max_retries is {max_retries}, want 0 to {MAX_COUNT}"
    if problem is not None:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"{of}: {problem}")
