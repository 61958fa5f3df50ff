"""A perfect shell around the engine, in virtual time: no socket, no process, no clock.

A World carries out the engine's actions the way the daemon does. What executors do is given by
Habits, so that a test says in one line that they hang, fail, die, or answer late or twice. After
each step of the engine every invariant is checked.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flamepy.core.types import ApplicationAttributes, TaskState
from flamepy.protocol import CloseMode, CompletionBatch, SessionSpec, TaskOptions
from hearth.engine.actions import (
    Action,
    DeliverResults,
    DismissExecutor,
    DispatchTasks,
    EnterSession,
    KillExecutor,
    LaunchExecutor,
    RecallResults,
    SessionClosed,
    TellWatcher,
)
from hearth.engine.engine import Engine
from hearth.engine.model import Resources
from tests.hearth.engine.invariants import check_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from hearth.engine.model import Session, Subscription, Task
    from hearth.engine.state import Limits

GIB = 1 << 30


def room(cpu: int) -> Resources:
    """Room for that many executors of the default size."""
    return Resources(cpu, cpu * GIB, 0)


@dataclass(frozen=True)
class Habits:
    """How an executor's process behaves. None as a time: it never does that."""

    install_s: float | None = 0.0
    """From its launch until there is a process, or until that has failed."""
    install_failure: str | None = None
    start_s: float | None = 0.1
    """From then on until it calls in."""
    refused: str | None = None
    """It cannot be started at all, because of this."""
    enter_s: float | None = 0.01
    enter_failure: str | None = None
    task_s: float | None = 0.5
    leave_s: float | None = 0.01
    error: str | None = None
    """What every task fails with."""


@dataclass
class Process:
    """The process behind one executor."""

    id: str
    habits: Habits
    is_alive: bool = True
    is_working: bool = False
    waiting: deque[Task] = field(default_factory=deque)
    worked: list[int] = field(default_factory=list)
    """Every task it was given, in order."""


class Stream:
    """A client's result stream: what arrived, by the client's own numbers."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.results: dict[int, tuple[TaskState, bytes | None, str | None]] = {}
        self.refused: list[tuple[int, int, int, str]] = []
        self.has_ended = False
        self.on_result: Callable[[], None] = lambda: None

    def take(self) -> None:
        """Take what waits, as the daemon does when the client can receive."""
        subscription = self.subscription
        assert not self.has_ended, "something was sent after the end of the stream"
        for number, state, output, message in subscription.results:
            assert number not in self.results, f"task {number} was answered twice"
            self.results[number] = (TaskState(state), output, message)
        self.refused += subscription.refused
        subscription.results.clear()
        subscription.refused.clear()
        subscription.is_ready = False
        self.has_ended = subscription.has_ended
        self.on_result()

    @property
    def states(self) -> dict[int, TaskState]:
        return {number: result[0] for number, result in self.results.items()}


class World:
    """Engine, processes, clients and the hour."""

    def __init__(
        self,
        cpus: int = 4,
        *,
        capacity: Resources | None = None,
        limits: Limits | None = None,
        habits: Habits | None = None,
        start: float = 1000.0,
        check_every: int = 1,
    ) -> None:
        """check_every: of how many steps one is checked, for worlds so large that checking takes the time."""
        self.now = start
        self.engine = Engine(capacity or room(cpus), limits=limits)
        self.check_every = check_every
        self.steps = 0
        self.habits = habits or Habits()
        self.next_habits: deque[Habits] = deque()
        """For the next executors launched, before `habits` applies again."""
        self.habits_of: dict[str, Habits] = {}
        """By application, where they differ from `habits`."""
        self.processes: dict[str, Process] = {}
        self.launches: list[tuple[float, str]] = []
        self._owners: dict[str, Session] = {}
        self.kills: list[tuple[float, str]] = []
        self.dispatched: list[tuple[str, list[int]]] = []
        self.entered: list[str] = []
        self.told: dict[Hashable, list[TaskState]] = {}
        self.streams: dict[int, Stream] = {}
        self.told_closed: list[str] = []
        """Sessions whose drained close was answered."""
        self.trace: list[str] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.register("app")

    # -- clients

    def register(self, name: str, attributes: ApplicationAttributes | None = None) -> None:
        self.engine.applications.register(name, attributes or ApplicationAttributes(command="x"), self.now)

    def session(self, session_id: str = "s", application: str = "app", **spec: object) -> Session:
        session = self.engine.sessions.create(session_id, make_spec(application, **spec), self.now)
        self.settle()
        return session

    def stream(self, session_id: str = "s") -> Stream:
        subscription = self.engine.tasks.subscribe(session_id, f"stream-{len(self.streams)}")
        stream = Stream(subscription)
        self.streams[id(subscription)] = stream
        return stream

    def submit(
        self,
        count: int = 1,
        session_id: str = "s",
        stream: Stream | None = None,
        data: bytes = b"in",
        *,
        timeout_s: float | None = None,
        max_retries: int | None = None,
    ) -> int:
        """Submit tasks, numbered by their client as by the engine; returns the first id."""
        options = None if timeout_s is max_retries is None else TaskOptions(timeout_s, max_retries)
        first = len(self.engine.state.session(session_id).tasks) + 1
        subscription = stream.subscription if stream is not None else None
        got = self.engine.tasks.submit(session_id, [data] * count, subscription, first, self.now, options)
        assert got == first
        self.settle()
        return got

    def close(self, session_id: str = "s", mode: CloseMode = CloseMode.PLAIN) -> Session:
        try:
            return self.engine.sessions.close(session_id, self.now, mode)
        finally:
            self.settle()

    def cancel(self, *task_ids: int, session_id: str = "s") -> list[int]:
        try:
            return self.engine.cancellation.cancel(session_id, task_ids, self.now)
        finally:
            self.settle()

    # -- time

    def at(self, delay_s: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.now + delay_s, self._count, what))

    def settle(self) -> None:
        """End of a batch: one step of the engine, then all that it wants done."""
        for action in self.engine.step(self.now):
            self.trace.append(f"{self.now:.4f} {describe(action)}")
            self._carry_out(action)
        self.steps += 1
        if self.steps % self.check_every == 0:
            check_engine(self.engine, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while (when := self._next()) is not None and when <= until:
            self._advance(when)
        self.now = until

    def run_until(self, condition: Callable[[], bool], within_s: float = 600.0) -> None:
        """Let time pass until the condition holds; fails when it does not in time."""
        until = self.now + within_s
        while not condition():
            when = self._next()
            assert when is not None, "nothing will ever happen again, and the condition does not hold"
            assert when <= until, f"the condition does not hold after {within_s} s"
            self._advance(when)

    def _next(self) -> float | None:
        due = [when for when in (self._agenda[0][0] if self._agenda else None, self.engine.next_deadline) if when]
        return min(due) if due else None

    def _advance(self, when: float) -> None:
        self.now = max(self.now, when)
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()
        self.settle()

    # -- carrying out

    def _carry_out(self, action: Action) -> None:
        match action:
            case LaunchExecutor(executor):
                self._owners[executor.id] = executor.session
                self._launch(executor.id, self._habits_for(executor.session))
            case EnterSession(executor):
                self._enter(self.processes[executor.id])
            case DispatchTasks(executor, tasks):
                self.dispatched.append((executor.id, [task.id for task in tasks]))
                self._take(self.processes[executor.id], tasks)
            case DismissExecutor(executor):
                self._leave(self.processes[executor.id])
            case KillExecutor(executor):
                self.kills.append((self.now, executor.id))
                self._kill(executor.id)
            case DeliverResults(subscription):
                self.streams[id(subscription)].take()
            case TellWatcher(watcher, _, task):
                self.told.setdefault(watcher, []).append(task.state)
            case SessionClosed(session):
                self.told_closed.append(session.id)

    def _kill(self, executor_id: str) -> None:
        self.at(0.0, lambda: self.die(executor_id))  # the provider notices the end a moment later

    def _habits_for(self, session: Session) -> Habits:
        if self.next_habits:
            return self.next_habits.popleft()
        return self.habits_of.get(session.application.name, self.habits)

    def _launch(self, executor_id: str, habits: Habits) -> None:
        process = self.processes[executor_id] = Process(executor_id, habits)
        self.launches.append((self.now, executor_id))
        if habits.refused is not None:
            refused = habits.refused
            self.at(0.0, lambda: self.die(executor_id, f"could not be started: {refused}"))
        elif habits.install_failure is not None:
            why = habits.install_failure
            self.at(habits.install_s or 0.0, lambda: self.die(executor_id, why, 10))
        elif habits.install_s:
            self.at(habits.install_s, lambda: self._start(process))
        elif habits.install_s is not None:
            self._start(process)

    def _start(self, process: Process) -> None:
        if process.is_alive:
            self.engine.executors.started(process.id, self.now)
            if process.habits.start_s is not None:
                self.at(process.habits.start_s, lambda: self.attach(process))

    def attach(self, process: Process) -> None:
        if process.is_alive:
            self.engine.executors.attached(process.id, self.now)

    def _enter(self, process: Process) -> None:
        if process.habits.enter_s is not None:
            batch = CompletionBatch(process.id, entered=True, failure=process.habits.enter_failure)
            self.at(process.habits.enter_s, lambda: self.report(process, batch))
            self.entered.append(process.id)

    def _take(self, process: Process, tasks: list[Task]) -> None:
        process.worked += [task.id for task in tasks]
        process.waiting += tasks
        self._work(process)

    def _work(self, process: Process) -> None:
        if process.waiting and not process.is_working and process.habits.task_s is not None:
            process.is_working = True
            task = process.waiting[0]
            self.at(process.habits.task_s, lambda: self._done(process, task))

    def _done(self, process: Process, task: Task) -> None:
        process.is_working = False
        if not process.waiting or process.waiting[0] is not task:
            return  # it died, or gave the task back
        process.waiting.popleft()
        answer = (task.id, None, process.habits.error) if process.habits.error else (task.id, b"out", None)
        self.report(process, CompletionBatch(process.id, done=[answer], busy_s=process.habits.task_s or 0.0))
        self._work(process)

    def _leave(self, process: Process) -> None:
        if process.habits.leave_s is not None:
            self.at(process.habits.leave_s, lambda: self.die(process.id, "exited with status 0"))

    # -- what executors may do besides

    def report(self, process: Process, batch: CompletionBatch) -> None:
        """Say something, if the daemon would still listen to it."""
        executor = self.engine.state.executors.get(process.id)
        if process.is_alive and executor is not None:
            self.engine.executors.report(executor, batch, self.now)

    def die(self, executor_id: str, how: str = "was killed by SIGKILL", return_code: int | None = None) -> None:
        """The process ends, and the provider notices; somebody has to settle."""
        process = self.processes[executor_id]
        if process.is_alive:
            process.is_alive = False
            process.waiting.clear()
            self.engine.executors.exited(executor_id, how, self.now, return_code)

    def kill(self, executor_id: str) -> None:
        """Somebody kills the process."""
        self.die(executor_id)
        self.settle()

    def give_back(self, process: Process, keep: int = 1) -> list[int]:
        """The executor is stuck in its first task and gives the others back."""
        returned = [process.waiting.pop().id for _ in range(len(process.waiting) - keep)][::-1]
        self.report(process, CompletionBatch(process.id, returned=returned))
        self.settle()
        return returned

    # -- looking

    @property
    def alive(self) -> list[Process]:
        """The processes that exist, oldest first."""
        return [process for process in self.processes.values() if process.is_alive]

    def launches_of(self, session: Session) -> list[str]:
        """The ids of all executors that were ever started for it."""
        return [executor_id for executor_id, owner in self._owners.items() if owner is session]

    def task(self, task_id: int, session_id: str = "s") -> Task:
        return self.engine.tasks.get(session_id, task_id)[1]

    def is_done(self, session_id: str = "s") -> bool:
        return not self.engine.state.session(session_id).outstanding


def make_spec(application: str = "app", **spec: object) -> SessionSpec:
    made = SessionSpec(application)
    return replace_spec(made, **spec)


def replace_spec(spec: SessionSpec, **changes: object) -> SessionSpec:
    return SessionSpec(**{**{name: getattr(spec, name) for name in spec.__struct_fields__}, **changes})


def habits(**changes: object) -> Habits:
    return replace(Habits(), **changes)  # type: ignore[arg-type]  # checked by the dataclass's own __init__


def describe(action: Action) -> str:
    """An action as text, to compare two runs of the same world."""
    match action:
        case DeliverResults(subscription):
            return f"deliver to {subscription.key}: {subscription.results}"
        case RecallResults(subscription, session, tasks):
            return f"recall for {subscription.key}: {session.id}/{[task.id for task in tasks]}"
        case TellWatcher(watcher, session, task):
            return f"tell {watcher}: {session.id}/{task.id} is {task.state.name}"
        case DispatchTasks(executor, tasks):
            return f"dispatch to {executor.id}: {[task.id for task in tasks]}"
        case SessionClosed(session):
            return f"session {session.id} is closed"
        case LaunchExecutor(executor) | EnterSession(executor) | DismissExecutor(executor) | KillExecutor(executor):
            return f"{type(action).__name__} {executor.id} of {executor.session.id}"
