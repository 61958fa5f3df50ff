# SPDX-License-Identifier: Apache-2.0
"""The lives of executors: launched, attached, bound, dismissed, gone; and what their deaths mean."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode
from hearth.engine.actions import DismissExecutor, EnterSession, KillExecutor, LaunchExecutor
from hearth.engine.deadlines import timeout_of
from hearth.engine.events import EventCode
from hearth.engine.lifecycle import ExecutorEvent, ExecutorState
from hearth.engine.model import EventRecord, Executor, Session
from hearth.engine.policies.claim import fits
from hearth.engine.room import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flamepy.protocol import CompletionBatch
    from hearth.engine.deadlines import Deadlines
    from hearth.engine.retries import Retries
    from hearth.engine.state import State
    from hearth.engine.tasks import Tasks

__all__ = ["Executors"]

_INSTALLATION_FAILED = 10
_SHIM_FAILED = 11
_ENTER_FAILED = 12
_UNKNOWN = 19
_SETTLED_S = 60.0
"""An executor that was ready for so long and then ends without a task is no failed attempt to get one."""


class Executors:
    """The executors of one engine."""

    def __init__(self, state: State, tasks: Tasks, retries: Retries, deadlines: Deadlines) -> None:
        self._state = state
        self._tasks = tasks
        self._retries = retries
        self._deadlines = deadlines
        deadlines.on_overdue = self._at_work_too_long

    def launch(self, session: Session, now: float) -> None:
        """Start one more for the session; its room is taken from now on."""
        state = self._state
        for other in session.executors.values():
            if other.is_idle:
                self._watch_idle(other, now + state.limits.linger_s)  # it was of the minimum, and may not be any more
        executor = Executor(state.new_executor_id(), session)
        executor.launched_at = now
        executor.settles_at = now + state.limits.attach_s  # known better when it has entered
        session.charge(now)
        state.executors[executor.id] = session.executors[executor.id] = executor
        state.free = state.free.minus(session.resources)
        state.actions.append(LaunchExecutor(executor))

    def started(self, executor_id: str, now: float) -> None:
        """Its process runs. Until then its application may have been installed, for as long as that takes."""
        executor = self._state.executors.get(executor_id)
        if executor is not None:
            executor.launched_at = now  # installing is no part of what starting costs
            executor.settles_at = now + self._state.limits.attach_s
            check = functools.partial(self._check_attached, executor)
            self._state.call_at(now + self._state.limits.attach_s, check)

    # -- what executors say

    def attached(self, executor_id: str, now: float) -> Executor:
        """Its process called in. Raises FlameError NOT_FOUND or INVALID_STATE if nobody waits for it."""
        executor = self._state.executors.get(executor_id)
        if executor is None:
            raise FlameError(FlameErrorCode.NOT_FOUND, f"executor {executor_id!r} is not one of this instance's")
        if executor.state is not ExecutorState.VOID:
            raise FlameError(
                FlameErrorCode.INVALID_STATE, f"executor {executor_id!r} is {executor.state.name}, not waited for"
            )
        executor.advance(ExecutorEvent.ATTACHED)
        self._state.actions.append(EnterSession(executor))
        return executor

    def adopt(self, executor_id: str, session_id: str, holding: Sequence[int], now: float) -> Executor:
        """One that has outlived an earlier run of the instance serves on, with those of its tasks that still wait.

        Raises FlameError NOT_FOUND for the session, INVALID_STATE if there is no use, or no room, for it.
        """
        state = self._state
        state.expected.discard(executor_id)
        session = state.open_session(session_id)
        if executor_id in state.executors:
            raise FlameError(FlameErrorCode.INVALID_STATE, f"executor {executor_id!r} is attached already")
        if state.is_draining or not self._has_place(session):
            raise FlameError(
                FlameErrorCode.INVALID_STATE, f"executor {executor_id!r}: its place has been taken meanwhile"
            )
        executor = Executor(executor_id, session)
        executor.state = ExecutorState.BOUND
        executor.launched_at = now
        executor.settles_at = now + state.limits.quantum_s
        session.charge(now)
        executor.completed = 1  # if it dies now that is no failed attempt to bind
        state.executors[executor_id] = session.executors[executor_id] = executor
        state.free = state.free.minus(session.resources)
        state.active[session_id] = session
        self._tasks.take_over(executor, holding, now)
        self._deadlines.begin(executor, now)
        if executor.is_idle:
            self._fell_idle(executor, now)
        if session.pending:
            state.to_dispatch[session.id] = session
        return executor

    def _has_place(self, session: Session) -> bool:
        """Whether one executor more is within every bound; whose turn it is, the next decision says."""
        most = session.spec.max_instances
        room = Room(self._state, [session])
        return fits(room.shape_of(session).size, room.free) and (most is None or session.alive < most)

    def report(self, executor: Executor, report: CompletionBatch, now: float) -> None:
        """Take what an executor did since its last report."""
        session = executor.session
        if executor.state is ExecutorState.BINDING:  # otherwise it says so twice, or was dismissed meanwhile
            if report.failure is not None:
                self._enter_failed(executor, report.failure, now)
            elif report.entered:
                self._entered(executor, now)
                executor.bound_at = now
        at_work = executor.task_at_work
        if executor.ghosts:
            executor.bury(itertools.chain((done[0] for done in report.done), report.returned))
        if report.done:
            executor.completed += self._tasks.record(executor, report.done, now)
            executor.window.measure(len(report.done), report.busy_s)
            session.bind_failures = 0
        if report.returned:
            self._tasks.put_back(executor, report.returned)
            executor.window.close()
        if executor.task_at_work is not at_work:
            self._deadlines.begin(executor, now)
        if session.pending:
            self._state.to_dispatch[session.id] = session
        if executor.is_idle:
            self._fell_idle(executor, now)

    def _entered(self, executor: Executor, now: float) -> None:
        """It serves from now on; how long before it may be another's turn depends on what it cost to get here."""
        executor.advance(ExecutorEvent.ENTERED)
        limits = self._state.limits
        executor.settles_at = now + max(limits.quantum_s, (now - executor.launched_at) * (1 / limits.start_share - 1))
        if self._state.waiting:
            self._state.review_at(executor.settles_at)

    def _enter_failed(self, executor: Executor, failure: str, now: float) -> None:
        """The process leaves and ends by itself; its exit is what counts as the failed attempt."""
        executor.failure = (_ENTER_FAILED, f"on_session_enter failed: {failure}")
        self.dismiss(executor, now)

    def exited(self, executor_id: str, how: str, now: float, return_code: int | None = None) -> None:
        """Its process has ended, or could not be started; how says it with the last lines of stderr.

        return_code: 10 if there never was a process since the application could not be installed; how says why.
        """
        state = self._state
        executor = state.executors.pop(executor_id, None)
        if executor is None:
            return
        session = executor.session
        was = executor.state
        executor.advance(ExecutorEvent.EXITED)
        session.charge(now)
        del session.executors[executor_id]
        state.free = state.free.plus(session.resources)
        state.is_placement_due = True
        if state.is_halted:
            executor.bury(list(executor.in_flight))
            self._tasks.put_back(executor, list(executor.in_flight))
        elif executor.in_flight:
            self._retries.abandon(executor, f"executor {executor.id} {how}", now)
        elif executor.failure is not None:
            self._bind_failed(executor, *executor.failure, now)
        elif was is ExecutorState.VOID and return_code == _INSTALLATION_FAILED:
            self._bind_failed(executor, return_code, f"application installation failed: {how}", now)
        elif was in (ExecutorState.VOID, ExecutorState.BINDING):
            self._bind_failed(executor, _SHIM_FAILED, f"shim creation failed: the process {how}", now)
        elif was is ExecutorState.BOUND and not executor.completed and now < executor.bound_at + _SETTLED_S:
            # Else one that enters and ends, again and again, would be replaced for ever.
            self._bind_failed(executor, _UNKNOWN, f"before its first task the process {how}", now)
        if session.waiting and session.gave_up is not None and not session.executors:
            self._tasks.fail_waiting(session, session.gave_up, now)

    # -- attempts that failed

    def _bind_failed(self, executor: Executor, return_code: int, detail: str, now: float) -> None:
        """One attempt less; the next one comes after a pause, the last one ends the waiting."""
        state, session, limits = self._state, executor.session, self._state.limits
        text = (
            f"Executor {executor.id} on node {state.host} failed to bind session"
            f" with return_code {return_code}: {detail}"
        )
        session.add_event(EventRecord(EventCode.BIND_FAILED, text, now))
        session.bind_failures += 1
        state.note_session(session)
        if session.bind_failures < limits.bind_attempts:
            session.retry_at = now + limits.bind_backoff_s * 2 ** (session.bind_failures - 1)
            state.call_at(session.retry_at, self._retry)
            return
        if session.gave_up is None:
            tried = f"{session.bind_failures}/{limits.bind_attempts}"
            session.gave_up = f"{text}; gave up after {tried} attempts"
            final = f"Session retry limit reached after {tried} failed attempts; the last one: {detail}"
            session.add_event(EventRecord(EventCode.GAVE_UP, final, now))

    def _retry(self, now: float) -> None:
        self._state.is_placement_due = True

    def _check_attached(self, executor: Executor, now: float) -> None:
        if executor.state is ExecutorState.VOID:
            patience = f"the process did not call flamepy.run within {self._state.limits.attach_s:g} s"
            executor.failure = (_SHIM_FAILED, f"shim creation failed: {patience}")
            self._kill(executor)

    # -- going

    def dismiss(self, executor: Executor, now: float) -> None:
        """Let it leave its session; if it takes too long it is killed."""
        state = self._state
        executor.session.planned_for = 0.0
        if executor.state is ExecutorState.VOID:
            executor.advance(ExecutorEvent.DISMISSED)
            state.actions.append(KillExecutor(executor))
        elif executor.is_alive:
            executor.advance(ExecutorEvent.DISMISSED)
            state.actions.append(DismissExecutor(executor))
            state.call_at(now + state.limits.leave_s, functools.partial(self._check_left, executor))

    def _check_left(self, executor: Executor, now: float) -> None:
        if executor.state is ExecutorState.UNBINDING:
            self._kill(executor)

    def _kill(self, executor: Executor) -> None:
        executor.advance(ExecutorEvent.OVERDUE)
        self._state.actions.append(KillExecutor(executor))

    def _at_work_too_long(self, executor: Executor, now: float) -> None:
        """Its task has reached its timeout, or was cancelled and the process does not come back from it.

        The others in its hands were not begun, and wait again without blame.
        """
        task = executor.task_at_work
        if task is not None and task.id not in executor.ghosts:
            text = f"task timed out: it ran longer than {timeout_of(executor.session, task):g} s"
            self._tasks.record(executor, [(task.id, None, text)], now)
        executor.bury(list(executor.in_flight))
        self._tasks.put_back(executor, list(executor.in_flight))
        self._kill(executor)
        self._state.is_placement_due = True

    def _fell_idle(self, executor: Executor, now: float) -> None:
        executor.idle_since = now
        if executor.is_retiring:
            self._state.is_placement_due = True
        elif not executor.linger_check_pending and self._state.others_wait(executor.session):
            executor.linger_check_pending = True
            self._state.call_at(now + self._state.limits.linger_s, functools.partial(self._check_lingering, executor))
        self._watch_idle(executor, now + self._delay_release(executor))

    def _watch_idle(self, executor: Executor, when: float) -> None:
        if not executor.idle_check_pending:
            executor.idle_check_pending = True
            self._state.call_at(when, functools.partial(self._check_idle, executor))

    def _check_lingering(self, executor: Executor, now: float) -> None:
        """Idle for long enough to be surplus? One entry on the agenda, which moves itself on."""
        executor.linger_check_pending = False
        if not executor.is_idle or not self._state.others_wait(executor.session):
            return
        until = executor.idle_since + self._state.limits.linger_s
        if until <= now:
            self._state.is_placement_due = True
        else:
            executor.linger_check_pending = True
            self._state.call_at(until, functools.partial(self._check_lingering, executor))

    def _check_idle(self, executor: Executor, now: float) -> None:
        """One entry on the agenda per executor, however often it falls idle: it moves itself on."""
        executor.idle_check_pending = False
        session = executor.session
        if not executor.is_idle or session.alive <= session.spec.min_instances:
            return  # it comes here again when it has worked
        until = executor.idle_since + self._delay_release(executor)
        if until <= now:
            self.dismiss(executor, now)
        else:
            self._watch_idle(executor, until)

    def _delay_release(self, executor: Executor) -> float:
        delay = executor.session.application.attributes.delay_release
        return self._state.limits.delay_release_s if delay is None else float(delay)
