# SPDX-License-Identifier: Apache-2.0
"""Which sessions get a new executor, and which idle executors make room for them. Pure functions.

First come, first served among open sessions; each takes as many executors as it has tasks, within
its limits, while they fit. When one goes short, executors that another session keeps but does not
use are given up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flamepy.core.types import Shim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearth.engine.model import Executor, Resources, Session

__all__ = ["Plan", "make_plan"]


@dataclass(slots=True)
class Plan:
    """What to do now."""

    launch: list[Session] = field(default_factory=list)
    """A session appears once for each new executor."""
    release: list[Executor] = field(default_factory=list)
    is_short: bool = False
    """Some session wants an executor that there is no room for."""


def make_plan(
    sessions: Iterable[Session], free: Resources, leaving: Resources, shims: frozenset[Shim], now: float
) -> Plan:
    """Plan from the open sessions, oldest first.

    free is the room that no executor holds, leaving the room of those on their way out, which counts
    as good as free when it is decided who else must go.
    """
    plan = Plan()
    sessions = list(sessions)
    short: list[Session] = []
    for session in sessions:
        for _ in range(_missing(session, shims, now)):
            if not session.resources.fits(free):
                short.append(session)
                break
            plan.launch.append(session)
            free = free.minus(session.resources)
    if short:
        plan.is_short = True
        room = free.plus(leaving)
        # The first that can be helped; one that is too big for what others could give stands in nobody's way.
        plan.release = next(filter(None, (_make_room(session, sessions, room) for session in short)), [])
    return plan


def _missing(session: Session, shims: frozenset[Shim], now: float) -> int:
    """How many executors the session lacks and may have."""
    attributes = session.application.attributes
    if session.gave_up is not None or now < session.retry_at or (attributes.shim or Shim.HOST) not in shims:
        return 0
    return session.wanted - session.alive


def _make_room(short: Session, sessions: list[Session], free: Resources) -> list[Executor]:
    """The idle executors to give up so that the session gets one; none if that would not be enough."""
    surplus = [executor for session in sessions if session is not short for executor in _surplus(session)]
    release: list[Executor] = []
    for executor in sorted(surplus, key=lambda executor: executor.idle_since):
        if short.resources.fits(free):
            break
        release.append(executor)
        free = free.plus(executor.session.resources)
    return release if short.resources.fits(free) else []


def _surplus(session: Session) -> list[Executor]:
    """The session's idle executors beyond its minimum, longest idle first. Whoever is idle has no tasks waiting."""
    idle = sorted((e for e in session.executors.values() if e.is_idle), key=lambda executor: executor.idle_since)
    return idle[: max(0, session.alive - session.spec.min_instances)]
