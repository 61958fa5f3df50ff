# SPDX-License-Identifier: Apache-2.0
"""The engine: what happened goes in with its time, what to do comes out.

A shell calls `sessions`, `tasks`, `cancellation` and `executors` for everything that a batch of input holds, then
`step` once, and carries out the actions it returns. Nothing here reads a clock, a socket or a file,
so the same inputs always give the same actions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.core.types import SessionState, Shim
from hearth.engine.cancellation import Cancellation
from hearth.engine.deadlines import Deadlines
from hearth.engine.executors import Executors
from hearth.engine.retries import Retries
from hearth.engine.scheduler import Scheduler
from hearth.engine.sessions import Sessions
from hearth.engine.state import Limits, State
from hearth.engine.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearth.engine.actions import Action
    from hearth.engine.applications import Applications
    from hearth.engine.changes import Changes
    from hearth.engine.model import Executor, Resources

__all__ = ["Engine"]

_MANY = 50
_PAUSE_S = 50e-6  # for each session with work beyond so many: a decision takes some 5 µs for each


class Engine:
    """All of one instance's applications, sessions, tasks and executors.

    capacity is what its node offers, shims what its executors can run; executor_prefix makes executor
    ids unique among instances; host is told to people. is_recorded: whether `State.take_changes` is called
    after each step, to store what has changed. Not thread-safe.
    """

    def __init__(
        self,
        capacity: Resources,
        *,
        shims: frozenset[Shim] = frozenset({Shim.HOST}),
        limits: Limits | None = None,
        executor_prefix: str = "executor",
        host: str = "localhost",
        is_recorded: bool = False,
    ) -> None:
        self.state = State(capacity, shims, limits or Limits(), executor_prefix, host)
        self.state.is_recorded = is_recorded
        deadlines = Deadlines(self.state)
        self.tasks = Tasks(self.state, deadlines)
        self.cancellation = Cancellation(self.state, self.tasks, deadlines)
        self.sessions = Sessions(self.state, self.tasks, self.cancellation)
        self.executors = Executors(self.state, self.tasks, Retries(self.state, self.tasks), deadlines)
        self._scheduler = Scheduler(self.state)
        self._place_again_at = 0.0

    @property
    def applications(self) -> Applications:
        """The registered applications."""
        return self.state.applications

    @property
    def next_deadline(self) -> float | None:
        """When to call `step` next even if nothing happens until then."""
        return self.state.next_deadline

    def step(self, now: float) -> list[Action]:
        """Close a batch: do what is due, match tasks and executors, and say what is to be done."""
        state = self.state
        self._deal(now)
        state.tick(now)
        self._deal(now)  # what came due may have given tasks back
        if state.closing_sessions:
            self.sessions.close_drained(now)
        if state.is_placement_due and not state.is_draining and not state.expected:
            self._place_in_time(now)
        actions, state.actions = state.actions, []
        return actions

    def expect(self, executor_ids: Iterable[str], until: float) -> None:
        """Launch nothing until these executors of an earlier run have come back, or that time has come."""
        state = self.state
        state.expected.update(executor_ids)
        if state.expected:
            state.call_at(until, self._expect_no_more)

    def _expect_no_more(self, now: float) -> None:
        self.state.expected.clear()

    def drain(self) -> None:
        """From the next step on begin nothing, and let executors go as they finish what they have."""
        self.state.is_draining = True

    def halt(self) -> None:
        """Executors that end from now on were killed since we end: what they had waits again, nobody is to blame."""
        self.state.is_halted = True

    def disown(self, changes: Changes, reason: str, now: float) -> None:
        """What is new of these could not be stored: take it back, and tell those who wait for it the reason."""
        for session in changes.sessions.values():
            if not session.is_stored and self.state.sessions.get(session.id) is session:
                self.sessions.discard(session, reason, now)
        for session, tasks in changes.created:
            if session.is_stored:
                self.cancellation.disown(session, tasks, reason, now)
        for name, application in changes.applications.items():
            if application is None or application.is_stored or self.sessions.of(application):
                continue
            if self.applications.try_get(name) is application:
                self.applications.remove(name)

    def _deal(self, now: float) -> None:
        if self.state.is_draining:
            self._dismiss_idle(now)
        else:
            self._dispatch(now)

    def _dismiss_idle(self, now: float) -> None:
        for executor in self.state.executors.values():
            if not executor.in_flight:
                self.executors.dismiss(executor, now)

    def _dispatch(self, now: float) -> None:
        """Before anything else: only what is idle after it is surplus, or has been idle for too long."""
        state = self.state
        while state.to_dispatch:
            _, session = state.to_dispatch.popitem()
            if session.pending:
                state.active[session.id] = session
                if session.executors:
                    self.tasks.dispatch(session, now)

    def _place_in_time(self, now: float) -> None:
        """Among very many sessions with work no decision follows another so soon that it would be all we do."""
        state = self.state
        if now < self._place_again_at:
            state.review_at(self._place_again_at)
            return
        state.is_placement_due = False
        self._place(now)
        self._place_again_at = now + max(0, len(state.active) - _MANY) * _PAUSE_S

    def _place(self, now: float) -> None:
        """Launch and dismiss executors: those of closed sessions go, then the plan is carried out."""
        state = self.state
        for executor in list(state.executors.values()):
            if executor.session.state is SessionState.CLOSED:
                self.executors.dismiss(executor, now)
        plan = self._scheduler.plan(now)
        state.waiting = plan.waiting
        for session in plan.launch:
            self.executors.launch(session, now)
        for executor in plan.dismiss:
            self.executors.dismiss(executor, now)
        self._retire(plan.retire, now)
        if plan.review_at is not None:
            state.review_at(plan.review_at)

    def _retire(self, executors: list[Executor], now: float) -> None:
        """These get no more tasks; those of the last time that are not among them do again."""
        state = self.state
        before, state.retiring = state.retiring, {executor.id: executor for executor in executors}
        for executor in executors:
            executor.is_retiring = True
        for executor in before.values():
            if executor.id not in state.retiring:
                executor.is_retiring = False
                if executor.session.pending:
                    self.tasks.dispatch(executor.session, now)
