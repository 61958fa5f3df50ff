# SPDX-License-Identifier: Apache-2.0
"""What the parts of the engine share: the tables, the room, the clock's agenda and the actions so far."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode, SessionState, Shim
from hearth.engine.applications import Applications
from hearth.engine.changes import Changes
from hearth.engine.model import Executor, Resources, Session, Task
from hearth.engine.policies.ordering import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.engine.actions import Action
    from hearth.engine.model import Application

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
    """How long a process may take from its start until it calls `flamepy.run`; heavy imports take a while."""
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
    policies: tuple[str, ...] = POLICIES
    """Those by which the room is given out (hearth.engine.policies.ordering)."""
    max_executors: int = 128
    """Processes at once, those on their way out included."""
    max_sessions: int | None = None
    """Open and closed ones together. Beyond it those go that were closed first; while all are open no more are made."""
    quantum_s: float = 1.0
    """How long an executor serves at least before it may be another session's turn, when there are more
    sessions with work than executors: some ten times what it costs to start one."""
    start_share: float = 0.25
    """One that took long to start serves so much longer that starting is no larger part of its life."""
    linger_s: float = 0.05
    """An executor that falls idle while others wait still counts as used for so long: a client that does one
    task after another is only thinking, and a process for each of its tasks would serve nobody."""
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
        self.applications = Applications(self)
        self.sessions: dict[str, Session] = {}
        self.open_sessions: dict[str, Session] = {}
        """In the order of their creation."""
        self.closed_sessions: OrderedDict[str, Session] = OrderedDict()
        """In the order of their closing."""
        self.closing_sessions: dict[str, Session] = {}
        """Open ones that are closed when their last task has ended."""
        self.active: dict[str, Session] = {}
        """Those that a decision has to look at: with demand, or with executors. Others may be a thousand."""
        self.executors: dict[str, Executor] = {}
        self.retiring: dict[str, Executor] = {}
        self.to_dispatch: dict[str, Session] = {}
        """Sessions for which tasks and executors may have met since the last step."""
        self.is_placement_due = False
        self.waiting: set[str] = set()
        """Sessions that want more executors than they have, so that one that falls idle matters to them."""
        self.expected: set[str] = set()
        """Executors that may come back from an earlier run, before others are launched in their place."""
        self.is_draining = False
        """Whether nothing new is to be dispatched or launched."""
        self.is_halted = False
        """Whether executors are killed because the instance ends."""
        self.actions: list[Action] = []
        self.is_recorded = False
        """Whether there is a store that wants to know of changes."""
        self.changes = Changes()
        self.next_session_key = 1
        self._executor_prefix = executor_prefix
        self._launched = 0
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._agenda_number = 0
        self._review_at: float | None = None

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

    # -- what the store is to know

    def take_changes(self) -> Changes:
        """All since the last time."""
        changes, self.changes = self.changes, Changes()
        return changes

    def note_application(self, application: Application) -> None:
        """It is new, or says something else."""
        if self.is_recorded:
            self.changes.applications[application.name] = application

    def note_removed_application(self, name: str) -> None:
        """It is gone."""
        if self.is_recorded:
            self.changes.applications[name] = None

    def note_session(self, session: Session) -> None:
        """Its record is new or differs; one that is gone stays gone, whatever its executors still do."""
        if self.is_recorded and self.sessions.get(session.id) is session:
            self.changes.sessions[session.id] = session

    def note_gone_session(self, session: Session) -> None:
        """It is gone, with its tasks."""
        if self.is_recorded:
            self.changes.sessions.pop(session.id, None)
            self.changes.gone.append(session)

    def note_created(self, session: Session, tasks: list[Task]) -> None:
        """They are new. The list must not be changed any more."""
        if self.is_recorded:
            self.changes.created.append((session, tasks))

    def note_tasks(self, session: Session, tasks: list[Task]) -> None:
        """They have ended, or have something else to remember. The list must not be changed any more."""
        if self.is_recorded:
            self.changes.tasks.append((session, tasks))

    def new_executor_id(self) -> str:
        """An id that no other instance and no earlier executor of this one has."""
        self._launched += 1
        return f"{self._executor_prefix}-{self._launched}"

    def others_wait(self, session: Session) -> bool:
        """Whether a session beside this one wants more executors than it has."""
        return len(self.waiting) > (session.id in self.waiting)

    # -- agenda

    def call_at(self, when: float, what: Callable[[float], None]) -> None:
        """Have `what(now)` called by the first tick at or after when. There is no taking back: what checks itself."""
        self._agenda_number += 1
        heapq.heappush(self._agenda, (when, self._agenda_number, what))

    def review_at(self, when: float) -> None:
        """Have the placement decided anew then, or before."""
        if self._review_at is None or when < self._review_at:
            self._review_at = when
            self.call_at(when, self._review)

    def _review(self, now: float) -> None:
        if self._review_at is not None and self._review_at <= now:
            self._review_at = None
            self.is_placement_due = self.is_placement_due or bool(self.waiting)

    @property
    def next_deadline(self) -> float | None:
        """When the next tick is due."""
        return self._agenda[0][0] if self._agenda else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2](now)
