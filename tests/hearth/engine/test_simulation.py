"""Thousands of random steps with faults: every invariant holds after each, and in the end nobody waits.

The engine is driven through the same World as the other tests, which checks the invariants. A seed
that fails is in the name of the test, so the same hour can be lived again.
"""

from __future__ import annotations

import functools
import os
import random
from typing import TYPE_CHECKING

import pytest

from flamepy.core.types import ApplicationAttributes, FlameError, ResourceRequirement, SessionState, TaskState
from flamepy.protocol import CloseMode, CompletionBatch
from hearth.engine.state import Limits
from tests.hearth.engine.driver import GIB, Habits, Stream, World

if TYPE_CHECKING:
    from hearth.engine.model import Session

STEPS = 300
CPUS = 6
LIMITS = Limits(
    delay_release_s=5.0,
    attach_s=8.0,
    leave_s=2.0,
    held_bytes=20_000,
    quantum_s=0.3,
    max_executors=CPUS - 1,
    max_sessions=25,
)
SOUND = Habits(start_s=0.05, enter_s=0.01, task_s=0.01, leave_s=0.01)


def any_is_done(sessions: list[Session]) -> bool:
    return any(not session.outstanding for session in sessions)


class Hour:
    """One random hour. Every choice comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(CPUS, limits=LIMITS)
        self.world.register("hasty", ApplicationAttributes(command="x", delay_release=0))
        self.world.register("capped", ApplicationAttributes(command="x", max_instances=2))
        self.streams: dict[str, list[Stream]] = {}
        self.submitted: dict[Stream, set[int]] = {}
        self.watchers = 0

    def live(self) -> None:
        deeds = [
            *[self.create] * 2,
            *[self.submit] * 8,
            *[self.pass_time] * 8,
            self.close,
            self.drain,
            self.force,
            self.delete,
            *[self.cancel] * 3,
            self.cancel_numbers,
            *[self.die] * 2,
            *[self.give_back] * 3,
            *[self.repeat_itself] * 2,
            self.leave_stream,
            self.watch,
            self.unregister,
        ]
        for _ in range(STEPS):
            self.world.habits = self._habits()
            self.chance.choice(deeds)()

    def recover(self) -> None:
        """No more faults: what hangs is killed, and all processes behave from now on."""
        world = self.world
        world.habits = SOUND
        for process in world.alive:
            process.habits = SOUND
            executor = world.engine.state.executors.get(process.id)
            if executor is None or not executor.is_idle:
                world.kill(process.id)
        self._close_what_is_done()
        while waiting := [
            session for session in world.engine.state.open_sessions.values() if self._may_finish(session)
        ]:
            world.run_until(functools.partial(any_is_done, waiting))
            self._close_what_is_done()
        for session_id in list(world.engine.state.open_sessions):
            world.close(session_id)
        world.run(120.0)

    def _close_what_is_done(self) -> None:
        """Minimum instances are kept though idle, so the room of these is needed by others."""
        for session in list(self.world.engine.state.open_sessions.values()):
            if any_is_done([session]):
                self.world.close(session.id)

    def _may_finish(self, session: Session) -> bool:
        return session.resources.fits(self.world.engine.state.capacity)

    def _habits(self) -> Habits:
        chance = self.chance
        fault = chance.random()
        return Habits(
            install_s=chance.choice([0.0, 0.0, 0.0, chance.uniform(0.0, 20.0)]),
            install_failure="no" if 0.25 < fault < 0.27 else None,
            start_s=None if fault < 0.03 else chance.uniform(0.0, 0.5),
            refused="no" if 0.03 < fault < 0.06 else None,
            enter_s=None if 0.06 < fault < 0.08 else chance.uniform(0.0, 0.1),
            enter_failure="no" if 0.08 < fault < 0.12 else None,
            task_s=None if 0.12 < fault < 0.18 else chance.choice([1e-5, 1e-4, 0.01, 0.3]),
            leave_s=None if 0.18 < fault < 0.21 else chance.uniform(0.0, 0.5),
            error="bad" if 0.21 < fault < 0.25 else None,
        )

    # -- deeds

    def _some_session(self) -> Session | None:
        sessions = list(self.world.engine.state.open_sessions.values())
        return self.chance.choice(sessions) if sessions else None

    def create(self) -> None:
        chance = self.chance
        if len(self.world.engine.state.open_sessions) >= 6:
            return
        least = chance.choice([0, 0, 0, 1, 2])
        name = f"s{chance.randrange(40)}"
        most = chance.choice([None, 2, 3])
        cpu = chance.choice([1, 1, 1, 2, CPUS, CPUS + 1])
        request = chance.choice([None, ResourceRequirement(cpu=cpu, memory=GIB)])
        application = chance.choice(["app", "app", "hasty", "capped"])
        try:
            self.world.session(
                name,
                application,
                min_instances=least,
                max_instances=most,
                resreq=request,
                priority=chance.choice([0, 0, 1]),
                timeout_s=chance.choice([None, None, 0.1, 2.0]),
                max_retries=chance.choice([None, 0, 1]),
            )
        except FlameError:
            return  # the id, or the application, is taken or gone
        self.streams[name] = [self.world.stream(name)]

    def submit(self) -> None:
        session = self._some_session()
        if session is None:
            return
        stream = self.chance.choice([None, *self.streams[session.id]])
        count = self.chance.choice([1, 1, 3, 10, 30])
        data = bytes(self.chance.choice([0, 10, 200]))
        timeout_s = self.chance.choice([None, None, None, 0.05, 1.0])
        retries = self.chance.choice([None, None, None, 0, 2])
        try:
            first = self.world.submit(count, session.id, stream, data, timeout_s=timeout_s, max_retries=retries)
        except FlameError:
            return  # full, or the session is closing
        if stream is not None:
            self.submitted.setdefault(stream, set()).update(range(first, first + count))

    def pass_time(self) -> None:
        self.world.run(self.chance.choice([0.0, 0.001, 0.02, 0.2, 1.0, 6.0]))

    def close(self) -> None:
        session = self._some_session()
        if session is None:
            return
        running, before = session.running, session.waiting
        try:
            self.world.close(session.id)
        except FlameError:
            assert running
            assert session.waiting <= before
        else:
            assert not running

    def drain(self) -> None:
        session = self._some_session()
        if session is not None:
            self.world.close(session.id, CloseMode.DRAIN)

    def force(self) -> None:
        session = self._some_session()
        if session is not None:
            assert self.world.close(session.id, CloseMode.FORCE).state is SessionState.CLOSED

    def delete(self) -> None:
        closed = list(self.world.engine.state.closed_sessions)
        if closed:
            self.world.engine.sessions.delete(self.chance.choice(closed))
            self.world.settle()

    def cancel(self) -> None:
        """What waits, what runs and what is over; those that are at work first of all."""
        session = self._some_session()
        if session is None or not session.tasks:
            return
        ids = [self.chance.randrange(len(session.tasks)) + 1 for _ in range(self.chance.choice([1, 3, 50]))]
        ids += [task_id for executor in session.executors.values() for task_id in [*executor.in_flight][:1]][:2]
        unfinished = {task_id for task_id in ids if session.tasks[task_id - 1].state < TaskState.SUCCEED}
        cancelled = self.world.cancel(*ids, session_id=session.id)
        assert set(cancelled) == unfinished

    def cancel_numbers(self) -> None:
        session = self._some_session()
        if session is not None and session.tasks and self.streams[session.id]:
            stream = self.chance.choice(self.streams[session.id])
            numbers = [self.chance.randrange(len(session.tasks)) + 1 for _ in range(10)]
            cancelled = self.world.engine.cancellation.cancel_numbers(
                session.id, stream.subscription, numbers, self.world.now
            )
            self.world.settle()
            assert set(cancelled) <= set(numbers) & self.submitted.get(stream, set())

    def die(self) -> None:
        if self.world.alive:
            self.world.kill(self.chance.choice(self.world.alive).id)

    def give_back(self) -> None:
        holders = [process for process in self.world.alive if len(process.waiting) > 1]
        if holders:
            self.world.give_back(self.chance.choice(holders), keep=self.chance.choice([0, 1, 1]))

    def repeat_itself(self) -> None:
        """An executor says things again, and things that make no sense."""
        if self.world.alive:
            process = self.chance.choice(self.world.alive)
            ids = [self.chance.randrange(1, 40) for _ in range(3)]
            held = {task.id for task in process.waiting}
            batch = CompletionBatch(
                process.id,
                entered=process.id in self.world.entered and self.chance.random() < 0.5,
                done=[(task_id, b"again", None) for task_id in ids if task_id not in held],
                returned=[task_id for task_id in ids if task_id not in held],
            )
            executor = self.world.engine.state.executors.get(process.id)
            if executor is not None and executor.state >= 4:
                self.world.report(process, batch)
                self.world.settle()

    def leave_stream(self) -> None:
        session = self._some_session()
        if session is not None and self.streams[session.id]:
            stream = self.streams[session.id].pop()
            self.world.engine.tasks.unsubscribe(session.id, stream.subscription)
            self.submitted.pop(stream, None)
            self.streams[session.id].append(self.world.stream(session.id))

    def watch(self) -> None:
        session = self._some_session()
        if session is not None and session.tasks:
            task = self.chance.choice(session.tasks)
            self.watchers += 1
            self.world.engine.tasks.watch(session.id, task.id, self.watchers)

    def unregister(self) -> None:
        try:
            self.world.engine.sessions.unregister_application("hasty")
        except FlameError:
            return  # it has open sessions
        self.world.register("hasty", ApplicationAttributes(command="x", delay_release=0))
        self.world.settle()


def seeds() -> range:
    """Ten, or as `make simulate` says: HEARTH_SEED is the first, HEARTH_HOURS how many."""
    first = int(os.environ.get("HEARTH_SEED", "0"))
    return range(first, first + int(os.environ.get("HEARTH_HOURS", "10")))


@pytest.mark.parametrize("seed", seeds())
def test_no_fault_breaks_an_invariant_and_nobody_waits_for_ever(seed: int) -> None:
    hour = Hour(seed)
    hour.live()
    hour.recover()
    engine = hour.world.engine
    assert not hour.world.alive, "processes are left behind"
    assert engine.state.free == engine.state.capacity
    assert engine.next_deadline is None
    for session in engine.state.sessions.values():
        assert session.state is SessionState.CLOSED
        assert all(task.state >= TaskState.SUCCEED for task in session.tasks)
        assert all(task.attempts <= 1 + LIMITS.max_retries for task in session.tasks)
    for stream, numbers in hour.submitted.items():
        assert set(stream.results) == numbers, "an answer was lost"
        assert stream.has_ended
    for told in hour.world.told.values():
        assert all(state < TaskState.SUCCEED for state in told[:-1]), "a watcher was told more after the end"
