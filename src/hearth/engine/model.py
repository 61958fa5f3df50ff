# SPDX-License-Identifier: Apache-2.0
"""What the engine keeps: tasks, sessions, executors, applications and their result streams."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from flamepy.core.types import ApplicationAttributes, ResourceRequirement, SessionState, TaskState
from hearth.engine.lifecycle import EXECUTOR_LIFE, ExecutorEvent, ExecutorState, IllegalTransition
from hearth.engine.submitters import Submitter
from hearth.engine.window import Window

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from flamepy.protocol import SessionSpec, TaskOptions

__all__ = [
    "Application",
    "Delivery",
    "EventRecord",
    "Executor",
    "Resources",
    "Result",
    "Session",
    "Stored",
    "Subscription",
    "Task",
]

_EVENTS_MAX = 64
"""Of one session, or of one task: some are kilobytes of stderr, and what fails may do so for years."""


class Resources(NamedTuple):
    """An amount of CPUs, bytes of memory and GPUs."""

    cpu: int
    memory: int
    gpu: int

    @classmethod
    def of(cls, requirement: ResourceRequirement) -> Resources:
        """The amount that a requirement names."""
        return cls(requirement.cpu, requirement.memory, requirement.gpu)

    def fits(self, room: Resources) -> bool:
        """Whether this amount is there in room, in every dimension."""
        return self.cpu <= room.cpu and self.memory <= room.memory and self.gpu <= room.gpu

    def plus(self, other: Resources) -> Resources:
        """Sum, dimension by dimension."""
        return Resources(self.cpu + other.cpu, self.memory + other.memory, self.gpu + other.gpu)

    def minus(self, other: Resources) -> Resources:
        """Difference, dimension by dimension."""
        return Resources(self.cpu - other.cpu, self.memory - other.memory, self.gpu - other.gpu)

    def requirement(self) -> ResourceRequirement:
        """The same as the SDK's type."""
        return ResourceRequirement(*self)

    def __str__(self) -> str:
        return f"cpu={self.cpu},mem={self.memory},gpu={self.gpu}"


class EventRecord(NamedTuple):
    """Something that happened to a session or a task. time is in UTC seconds."""

    code: int
    message: str
    time: float


Result: TypeAlias = "tuple[int, int, bytes | None, str | None]"
"""(the client's number, state, output, message)"""


class Subscription:
    """One client's stream of results of one session. key is the shell's own name for it."""

    __slots__ = (
        "has_ended",
        "is_live",
        "is_ready",
        "key",
        "recalled",
        "refused",
        "results",
        "submitter",
        "unknown",
    )

    def __init__(self, key: Hashable, submitter: Submitter | None = None) -> None:
        self.key = key
        self.is_live = True
        self.has_ended = False
        """Whether its session is closed, so that nothing follows what waits now."""
        self.is_ready = False
        """Whether the engine has already told the shell that something waits."""
        self.results: list[Result] = []
        self.refused: list[tuple[int, int, int, str]] = []
        self.unknown: list[tuple[int, int]] | None = None
        """To be told once to a client that comes back: those of its numbers that became no task."""
        self.recalled = 0
        """How many of its results are being read from the store."""
        self.submitter = Submitter("", 0) if submitter is None else submitter
        """Whose numbers these are; one that has no name is forgotten with its stream."""

    def take(self) -> Delivery:
        """Everything that waits; the shell must now send it."""
        delivery = Delivery(self.results, self.refused, self.unknown, self.has_ended and not self.recalled)
        self.results, self.refused, self.unknown = [], [], None
        self.is_ready = False
        return delivery


class Delivery(NamedTuple):
    """What a client is sent at a time; nothing follows the one that is the end."""

    results: list[Result]
    refused: list[tuple[int, int, int, str]]
    unknown: list[tuple[int, int]] | None
    is_end: bool


class Stored(IntEnum):
    """What the store knows of a task."""

    NOT = 0
    WAITING = 1
    ENDED = 2


class Task(msgspec.Struct, gc=False):
    """One input and what became of it.

    A hundred thousand of these may wait at once, so the ordinary events are not kept but follow
    from the times (`views.task_events`). gc=False: a task is part of no cycle.
    """

    id: int
    number: int
    """The submitting client's own number for it."""
    input: bytes | None
    subscription: Subscription | None
    created: float
    submitter: int = 0
    """The index of the client whose numbering `number` belongs to, 0 for none."""
    state: TaskState = TaskState.PENDING
    started: float = 0.0
    completed: float = 0.0
    output: bytes | None = None
    message: str | None = None
    options: TaskOptions | None = None
    """What it has instead of what its session says."""
    attempts: int = 0
    """How many executors have died with nothing else in their hands."""
    is_suspect: bool = False
    """An executor died with this task in its hands; it runs alone next time, so that blame is certain."""
    is_forgotten: bool = False
    """Input and output are not in memory: dropped to keep within its bound, or still in the store only."""
    executor: str | None = None
    """The executor that has it, or had it last."""
    stored: Stored = Stored.NOT
    """What the store has of it, or is about to write."""

    @property
    def size_bytes(self) -> int:
        """What it holds of the user's data."""
        return len(self.input or b"") + len(self.output or b"")


class Application(msgspec.Struct):
    """A registered recipe."""

    name: str
    attributes: ApplicationAttributes
    created: float
    is_stored: bool = False


class Session:
    """A group of tasks of one application, and the executors that serve it."""

    def __init__(self, id_: str, spec: SessionSpec, application: Application, resources: Resources, now: float) -> None:
        self.id = id_
        self.key = 0
        """Its number in the store, never given twice."""
        self.is_stored = False
        self.spec = spec
        self.application = application
        self.resources = resources
        self.state = SessionState.OPEN
        self.created = now
        self.completed: float | None = None
        self.tasks: list[Task] = []
        """By id: task n is tasks[n - 1]."""
        self.restored = 0
        """How many of them, the first ones, are from an earlier run."""
        self.is_closing = False
        """Whether it takes no more tasks, and is closed when the last one has ended."""
        self.pending: deque[Task] = deque()
        """By id; those that wait for an executor."""
        self.delayed: dict[int, Task] = {}
        """Pending too, but paused before their next attempt."""
        self.running = 0
        self.succeed = 0
        self.failed = 0
        self.cancelled = 0
        self.events: list[EventRecord] = []
        self.task_events: dict[int, list[EventRecord]] = {}
        """What befell single tasks outside the ordinary."""
        self.watchers: dict[int, list[Hashable]] = {}
        self.subscriptions: list[Subscription] = []
        self.submitters: dict[str, Submitter] = {}
        """Clients that number their tasks, by their own names, in the order of their indices."""
        self.executors: dict[str, Executor] = {}
        self.bind_failures = 0
        self.retry_at = 0.0
        self.gave_up: str | None = None
        """Why no executor will be launched any more."""
        self.slot_s = 0.0
        """Seconds of its executors' lives so far, moved up when it comes to contend (policies.fairness)."""
        self.charged_at = now
        self.contends = False
        """Whether at the last decision it waited for what an equal held, or the other way round."""
        self.planned_for = 0.0
        """How much demand the last decision took into account: up to it, more tasks change nothing."""

    def submitter(self, client: str) -> Submitter:
        """The numbering of a client, a new one if it is new."""
        submitter = self.submitters.get(client)
        if submitter is None:
            submitter = self.submitters[client] = Submitter(client, len(self.submitters) + 1)
        return submitter

    @property
    def alive(self) -> int:
        """How many executors serve it or are about to."""
        return sum(executor.is_alive for executor in self.executors.values())

    def charge(self, now: float) -> None:
        """Count what its executors have lived since the last time; before each change of their number."""
        self.slot_s += len(self.executors) * (now - self.charged_at)
        self.charged_at = now

    @property
    def waiting(self) -> int:
        """How many of its tasks are PENDING."""
        return len(self.pending) + len(self.delayed)

    @property
    def outstanding(self) -> int:
        """How many of its tasks have not ended."""
        return self.waiting + self.running

    def add_event(self, event: EventRecord) -> None:
        """Something happened to it; the oldest events go beyond a number."""
        self.events.append(event)
        del self.events[:-_EVENTS_MAX]

    def add_task_event(self, task: Task, event: EventRecord) -> None:
        """Something outside the ordinary happened to one of its tasks."""
        events = self.task_events.setdefault(task.id, [])
        events.append(event)
        del events[:-_EVENTS_MAX]

    @property
    def wanted(self) -> int:
        """How many executors it would use now, its demand: one a task that waits or runs, within its own limits.

        Not whether it may have them: what the application, the policies and the room allow is decided
        by the scheduler.
        """
        wanted = max(self.outstanding, self.spec.min_instances)
        return wanted if self.spec.max_instances is None else min(wanted, self.spec.max_instances)


class Executor:
    """One process serving one session."""

    def __init__(self, id_: str, session: Session) -> None:
        self.id = id_
        self.session = session
        self.state = ExecutorState.VOID
        self.in_flight: dict[int, Task] = {}
        """Dispatched and not answered, in dispatch order."""
        self.ghosts: set[int] = set()
        """Those in flight that nobody wants any more: the process may still be at work on them."""
        self.is_haunted = False
        """Whether some of these are from before an earlier run ended, so that their ids may be other tasks' now."""
        self.at_work_since = 0.0
        """Since when the first in flight is the one at work."""
        self.look_at: float | None = None
        """When somebody looks next whether that takes too long."""
        self.window = Window()
        self.completed = 0
        self.bound_at = 0.0
        self.idle_since = 0.0
        self.idle_check_pending = False
        self.linger_check_pending = False
        self.is_retiring = False
        """Whether it gets no more tasks, since its session has more than its share while another waits."""
        self.launched_at = 0.0
        self.settles_at = 0.0
        """When it will have served for a quantum, so that it may be its turn to go."""
        self.failure: tuple[int, str] | None = None
        """Return code and reason of an attempt to bind that failed before the process has ended."""

    def advance(self, event: ExecutorEvent) -> None:
        """Go on to the next state. Raises IllegalTransition."""
        state = EXECUTOR_LIFE.get((self.state, event))
        if state is None:
            raise IllegalTransition(f"executor {self.id} is {self.state.name}: {event.name} cannot happen")
        self.state = state

    @property
    def task_at_work(self) -> Task | None:
        """The first in flight: the process takes them in the order of their dispatch."""
        return next(iter(self.in_flight.values()), None)

    def haunt(self, ghost: Task) -> None:
        """It is at work on this since an earlier run, and it is none of its session's tasks that it may have."""
        self.in_flight[ghost.id] = ghost
        self.ghosts.add(ghost.id)
        self.is_haunted = True

    def bury(self, task_ids: Iterable[int]) -> None:
        """Ghosts among these have left its hands, and that is all there is to them."""
        for task_id in self.ghosts.intersection(task_ids):
            self.ghosts.remove(task_id)
            del self.in_flight[task_id]
        self.is_haunted = self.is_haunted and bool(self.ghosts)

    @property
    def is_alive(self) -> bool:
        """Whether it serves, or is on its way to."""
        return self.state <= ExecutorState.BOUND

    @property
    def is_idle(self) -> bool:
        """Whether it is ready and has nothing to do."""
        return self.state is ExecutorState.BOUND and not self.in_flight

    @property
    def credit(self) -> int:
        """How many more tasks it may be given now."""
        if self.state is not ExecutorState.BOUND or self.is_retiring or self.is_haunted:
            return 0
        at_work = self.task_at_work
        if at_work is not None and at_work.is_suspect:
            return 0
        return self.window.size - len(self.in_flight)
