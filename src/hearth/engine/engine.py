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
from hearth.engine.lifecycle import ExecutorState
from hearth.engine.model import Resources
from hearth.engine.retries import Retries
from hearth.engine.scheduler import make_plan
from hearth.engine.sessions import Sessions
from hearth.engine.state import Limits, State
from hearth.engine.tasks import Tasks

if TYPE_CHECKING:
    from hearth.engine.actions import Action
    from hearth.engine.applications import Applications

__all__ = ["Engine"]


class Engine:
    """All of one instance's applications, sessions, tasks and executors.

    capacity is what its node offers, shims what its executors can run; executor_prefix makes executor
    ids unique among instances; host is told to people. Not thread-safe.
    """

    def __init__(
        self,
        capacity: Resources,
        *,
        shims: frozenset[Shim] = frozenset({Shim.HOST}),
        limits: Limits | None = None,
        executor_prefix: str = "executor",
        host: str = "localhost",
    ) -> None:
        self.state = State(capacity, shims, limits or Limits(), executor_prefix, host)
        deadlines = Deadlines(self.state)
        self.tasks = Tasks(self.state, deadlines)
        self.cancellation = Cancellation(self.state, self.tasks, deadlines)
        self.sessions = Sessions(self.state, self.tasks, self.cancellation)
        self.executors = Executors(self.state, self.tasks, Retries(self.state, self.tasks), deadlines)

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
        if state.is_placement_due and not state.is_draining:
            state.is_placement_due = False
            self._place(now)
        actions, state.actions = state.actions, []
        return actions

    def drain(self) -> None:
        """From the next step on begin nothing, and let executors go as they finish what they have."""
        self.state.is_draining = True

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
            if session.pending and session.executors:
                self.tasks.dispatch(session, now)
                if state.is_short and not session.pending:
                    state.is_placement_due = True

    def _place(self, now: float) -> None:
        """Launch and dismiss executors: those of closed sessions go, then the plan is carried out."""
        state = self.state
        leaving = Resources(0, 0, 0)
        for executor in list(state.executors.values()):
            if executor.session.state is SessionState.CLOSED:
                self.executors.dismiss(executor, now)
            if executor.state in (ExecutorState.UNBINDING, ExecutorState.RELEASING):
                leaving = leaving.plus(executor.session.resources)
        plan = make_plan(state.open_sessions.values(), state.free, leaving, state.shims, now)
        state.is_short = plan.is_short
        for session in plan.launch:
            self.executors.launch(session, now)
        for executor in plan.release:
            self.executors.dismiss(executor, now)
