# SPDX-License-Identifier: Apache-2.0
"""What the parts of the engine share: the tables, the room, the clock's agenda and the actions so far."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode, SessionState, Shim
from hearth.engine.applications import Applications
from hearth.engine.model import Executor, Resources, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.engine.actions import Action

__all__ = ["Limits", "State"]


_ONE_CPU = Resources(cpu=1, memory=1 << 30, gpu=0)


@dataclass(frozen=True, slots=True)
class Limits:
    """The engine's bounds. Times are in seconds."""

    default_resources: Resources = _ONE_CPU
    """Of an executor whose session asked for nothing."""
    delay_release_s: float = 60.0
    """How long an idle executor is kept when its application does not say."""
    attach_s: float = 60.0
    """How long a process may take from its launch until it calls `flamepy.run`; heavy imports take a while."""
    leave_s: float = 10.0
    """How long a dismissed executor may take to leave its session."""
    bind_attempts: int = 5
    """Failed attempts to get an executor, after which a session gives up."""
    bind_backoff_s: float = 0.05
    """After the first failed attempt, doubled after each further one."""
    max_retries: int = 3
    """How often a task is done again after its executor died with it, where neither task nor session says."""
    retry_backoff_s: float = 0.05
    """Before the first of these attempts, doubled before each further one, up to 64 times this."""
    cancel_grace_s: float = 0.25
    """How long a cancelled task may stay at work before its executor is killed for it."""
    max_sessions: int | None = None
    """Open and closed ones together. Beyond it those go that were closed first; while all are open no more are made."""
    held_bytes: int = 2 << 30
    """Inputs and outputs in memory. Beyond it the data of the oldest finished tasks is dropped, and when
    there is none, new tasks are refused."""


class State:
    """Tables and agenda. Pure; `now` is always given from outside."""

    def __init__(
        self, capacity: Resources, shims: frozenset[Shim], limits: Limits, executor_prefix: str, host: str
    ) -> None:
        self.capacity = capacity
        self.free = capacity
        self.shims = shims
        self.limits = limits
        self.host = host
        self.applications = Applications()
        self.sessions: dict[str, Session] = {}
        self.open_sessions: dict[str, Session] = {}
        """In the order of their creation."""
        self.closed_sessions: OrderedDict[str, Session] = OrderedDict()
        """In the order of their closing."""
        self.closing_sessions: dict[str, Session] = {}
        """Open ones that are closed when their last task has ended."""
        self.executors: dict[str, Executor] = {}
        self.to_dispatch: dict[str, Session] = {}
        """Sessions for which tasks and executors may have met since the last step."""
        self.is_placement_due = False
        self.is_short = False
        """Whether a session waits for room, so that an executor that falls idle matters to others."""
        self.is_draining = False
        """Whether nothing new is to be dispatched or launched."""
        self.actions: list[Action] = []
        self._executor_prefix = executor_prefix
        self._launched = 0
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._agenda_number = 0

    def session(self, session_id: str) -> Session:
        """Raises FlameError NOT_FOUND."""
        session = self.sessions.get(session_id)
        if session is None:
            raise FlameError(
                FlameErrorCode.NOT_FOUND, f"session {session_id!r} not found; list them with: hearth session list"
            )
        return session

    def open_session(self, session_id: str) -> Session:
        """Raises FlameError NOT_FOUND, or INVALID_STATE if it is closed; one that is closing is still open."""
        session = self.session(session_id)
        if session.state is not SessionState.OPEN:
            raise FlameError(FlameErrorCode.INVALID_STATE, f"session {session_id!r} is closed and takes no more tasks")
        return session

    def new_executor_id(self) -> str:
        """An id that no other instance and no earlier executor of this one has."""
        self._launched += 1
        return f"{self._executor_prefix}-{self._launched}"

    # -- agenda

    def call_at(self, when: float, what: Callable[[float], None]) -> None:
        """Have `what(now)` called by the first tick at or after when. There is no taking back: what checks itself."""
        self._agenda_number += 1
        heapq.heappush(self._agenda, (when, self._agenda_number, what))

    @property
    def next_deadline(self) -> float | None:
        """When the next tick is due."""
        return self._agenda[0][0] if self._agenda else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2](now)
