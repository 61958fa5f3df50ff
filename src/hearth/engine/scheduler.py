# SPDX-License-Identifier: Apache-2.0
"""Who gets a new executor, who gives one up, and when to look again. Decides; `Engine` carries out.

Each decision starts from nothing: what each session is to have of the whole instance follows from
what it wants and holds now, by the policies. Who has less is given more as far as there is room, and
where there is none, those who have more give up as many executors as that takes: idle ones and those
that still start at once, the others when they have finished what they hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flamepy.core.types import SessionState, Shim
from hearth.engine.lifecycle import ExecutorState
from hearth.engine.policies.claim import Claim, fits, minus, plus
from hearth.engine.policies.fairness import next_turn
from hearth.engine.policies.filling import fill
from hearth.engine.policies.ordering import make_order
from hearth.engine.policies.placement import make_room
from hearth.engine.policies.virtual_time import VirtualTime, find_contenders
from hearth.engine.room import Room

if TYPE_CHECKING:
    from hearth.engine.model import Executor, Session
    from hearth.engine.state import State

__all__ = ["Plan", "Scheduler"]

_LOOK_AGAIN = 0.1
"""Of a quantum: turns that fall due closer together than this are taken in one decision."""


@dataclass(slots=True)
class Plan:
    """What to do now."""

    launch: list[Session] = field(default_factory=list)
    """A session appears once for each new executor."""
    dismiss: list[Executor] = field(default_factory=list)
    """They hold no task."""
    retire: list[Executor] = field(default_factory=list)
    """They hold tasks: no more of them, and gone when these are done. Who is not named here any more goes on."""
    waiting: set[str] = field(default_factory=set)
    """Sessions that want more than they have then."""
    review_at: float | None = None
    """When to decide again even if nothing happens until then."""


class Scheduler:
    """Plans for one engine. Keeps nothing but how much those have received who wait."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._virtual_time = VirtualTime(state.limits.quantum_s)

    def plan(self, now: float) -> Plan:
        """Decide from the sessions that want or have executors; no longer looks at those that do neither."""
        limits = self._state.limits
        sessions = self._active_sessions()
        room = Room(self._state, sessions.values())
        claims = [self._claim(session, room, now) for session in sessions.values()]
        self._virtual_time.admit(claims)
        granted = fill(claims, room.whole, make_order(limits.policies, now, limits.quantum_s))
        plan = Plan()
        missing: list[Claim] = []
        for claim in granted:
            if fits(claim.size, room.free):
                room.free = minus(room.free, claim.size)
                claim.held += 1
                plan.launch.append(sessions[claim.id])
            else:
                missing.append(claim)
        if missing:
            self._make_room(plan, missing, claims, room)
        find_contenders(claims)
        for claim in claims:
            self._note(sessions[claim.id], claim)
        plan.waiting = {claim.id for claim in claims if claim.is_waiting}
        if plan.waiting:
            plan.review_at = self._review_at(claims, sessions, now)
        return plan

    # -- what sessions claim

    def _active_sessions(self) -> dict[str, Session]:
        """The open ones with demand or executors, oldest first."""
        active = self._state.active
        for session in list(active.values()):
            if session.state is not SessionState.OPEN or not (session.wanted or session.executors):
                session.contends = False
                session.planned_for = 0.0
                del active[session.id]
        return {session.id: session for session in sorted(active.values(), key=lambda session: session.created)}

    def _claim(self, session: Session, room: Room, now: float) -> Claim:
        session.charge(now)
        size, most, (amount, whole) = room.shape_of(session)
        alive = [executor for executor in session.executors.values() if executor.is_alive]
        last = max(alive, key=_settles_at, default=None)
        held = len(alive)
        if not self._may_have(session, now):
            most = held
        demand = min(self._demand(session, now), most)
        session.planned_for = math.inf if demand >= most else max(demand, held)
        return Claim(
            id=session.id,
            size=size,
            demand=demand,
            held=held,
            pinned=min(session.spec.min_instances, held),
            priority=session.spec.priority if "priority" in self._state.limits.policies else 0,
            dominant=(amount, whole),
            received=session.slot_s * amount / whole,
            settles_at=last.settles_at if last else 0.0,
            settling_s=last.settles_at - last.launched_at if last else 0.0,
            contends=session.contends,
        )

    def _demand(self, session: Session, now: float) -> int:
        """What it wants, and what it has just used."""
        if session.pending:
            return session.wanted  # so nothing of it is idle
        in_use = sum(bool(e.in_flight) or self._is_lingering(e, now) for e in session.executors.values() if e.is_alive)
        return max(session.wanted, in_use)

    def _is_lingering(self, executor: Executor, now: float) -> bool:
        return executor.is_idle and now < executor.idle_since + self._state.limits.linger_s

    def _may_have(self, session: Session, now: float) -> bool:
        """Whether executors can be started for it at all."""
        shim = session.application.attributes.shim or Shim.HOST
        return shim in self._state.shims and session.gave_up is None and now >= session.retry_at

    # -- what becomes of it

    def _make_room(self, plan: Plan, missing: list[Claim], claims: list[Claim], room: Room) -> None:
        """Choose who has to go for those that do not fit."""
        surplus: list[Executor] = []
        for claim in claims:
            if claim.held > claim.given:
                executors = self._state.sessions[claim.id].executors.values()
                surplus += sorted(filter(_is_alive, executors), key=_goes_first)[: claim.held - claim.given]
        surplus.sort(key=_goes_first)
        sizes = [room.shape_of(executor.session).size for executor in surplus]
        for index in make_room([claim.size for claim in missing], plus(room.free, room.leaving), sizes):
            (plan.retire if surplus[index].in_flight else plan.dismiss).append(surplus[index])

    def _note(self, session: Session, claim: Claim) -> None:
        """Keep what the next decision must know of this one."""
        amount, whole = claim.dominant
        if claim.received > session.slot_s * amount / whole:
            session.slot_s = claim.received * whole / amount
        session.contends = claim.contends

    def _review_at(self, claims: list[Claim], sessions: dict[str, Session], now: float) -> float | None:
        """When an idle executor becomes surplus, or it may be another's turn."""
        limits = self._state.limits
        reviews = [
            executor.idle_since + limits.linger_s
            for session in sessions.values()
            for executor in session.executors.values()
            if self._is_lingering(executor, now)
        ]
        if "drf" in limits.policies and (turn := next_turn(claims, now, limits.quantum_s)) is not None:
            reviews.append(max(turn, now + _LOOK_AGAIN * limits.quantum_s))
        return min(reviews, default=None)


def _is_alive(executor: Executor) -> bool:
    return executor.is_alive


def _settles_at(executor: Executor) -> float:
    return executor.settles_at


def _goes_first(executor: Executor) -> tuple[int, float]:
    """Who is idle, the longest first; then who still starts, then who works, the youngest first: it lost least."""
    if executor.is_idle:
        return (0, executor.idle_since)
    return (1 if executor.state < ExecutorState.BOUND else 2, -executor.launched_at)
