"""How long a task may be at work, and what its timeout does to it and to those beside it."""

from __future__ import annotations

import pytest

from flamepy.core.types import TaskState
from flamepy.protocol import CompletionBatch
from hearth.engine.views import task_info
from tests.hearth.engine.driver import Habits, Process, World

STUCK = Habits(task_s=None)


def stuck_in_the_first_of(world: World, tasks: int, timeout_s: float | None = None) -> Process:
    """One executor with an open window that holds so many tasks, ids from 21 on, and is stuck in the first."""
    world.session(max_instances=1, timeout_s=timeout_s)
    world.next_habits.append(Habits(task_s=1e-5))
    world.submit(20)
    world.run_until(world.is_done)
    (process,) = world.alive
    process.habits = STUCK
    world.submit(tasks)
    assert len(process.waiting) == tasks
    return process


def test_a_task_that_runs_longer_than_its_timeout_fails_and_says_so() -> None:
    world = World(habits=STUCK)
    session = world.session(timeout_s=2.0)
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(lambda: session.running == 1)
    began = world.now
    world.run_until(world.is_done)
    assert world.now == pytest.approx(began + 2.0)
    assert stream.results == {1: (TaskState.FAILED, None, "task timed out: it ran longer than 2 s")}
    event = task_info(session, world.task(1)).events[-1]
    assert (event.code, event.message) == (3, "task timed out: it ran longer than 2 s")
    assert world.task(1).attempts == 0, "it is not done again"


def test_the_executor_of_a_task_that_timed_out_is_killed_and_replaced() -> None:
    world = World(cpus=1, habits=Habits(task_s=0.1))
    session = world.session(timeout_s=2.0)
    world.next_habits.append(STUCK)
    world.submit(3)
    world.run_until(lambda: session.failed == 1)
    assert [executor_id for _, executor_id in world.kills] == [world.launches[0][1]]
    world.run_until(world.is_done)
    assert (session.succeed, session.failed) == (2, 1)
    assert len(world.launches) == 2
    assert not session.events, "that was no failed attempt to get an executor"


def test_the_others_in_its_hands_wait_again_without_blame() -> None:
    world = World()
    stuck_in_the_first_of(world, 10, timeout_s=2.0)
    session = world.engine.state.session("s")
    world.habits = Habits(task_s=1e-5)
    world.run_until(lambda: session.failed == 1)
    assert session.tasks[20].state is TaskState.FAILED
    assert not any(task.is_suspect or task.attempts for task in session.tasks)
    world.run_until(world.is_done)
    assert (session.succeed, session.failed) == (29, 1)
    assert not session.task_events


def test_the_time_that_a_task_waits_in_the_executors_hands_does_not_count() -> None:
    world = World(cpus=1)
    process = stuck_in_the_first_of(world, 5, timeout_s=2.0)
    for task in list(process.waiting):
        world.run(1.5)
        process.waiting.popleft()
        world.report(process, CompletionBatch(process.id, done=[(task.id, b"out", None)], busy_s=1e-5))
        world.settle()
    assert world.engine.state.session("s").succeed == 25
    assert not world.kills


def test_giving_others_back_does_not_begin_its_time_anew() -> None:
    world = World(cpus=1)
    process = stuck_in_the_first_of(world, 5, timeout_s=2.0)
    began = world.now
    for _ in range(4):
        world.run(0.4)
        world.give_back(process)
        world.submit()
    world.run_until(lambda: world.task(21).state is TaskState.FAILED)
    assert world.now == pytest.approx(began + 2.0)


def test_a_task_has_its_own_timeout_instead_of_its_sessions() -> None:
    world = World(cpus=3, habits=STUCK)
    session = world.session(timeout_s=10.0)
    world.submit(timeout_s=2.0)
    world.submit()
    world.submit(timeout_s=20.0)
    world.run_until(lambda: session.running == 3)
    world.habits = Habits()
    begun = world.now
    for ended, seconds in ((1, 2.0), (2, 10.0), (3, 20.0)):
        world.run_until(lambda ended=ended: session.failed == ended)  # type: ignore[misc]  # its own default
        assert world.now == pytest.approx(begun + seconds)
    assert "longer than 20 s" in (world.task(3).message or "")


def test_a_short_timeout_behind_a_long_one_is_kept() -> None:
    world = World(cpus=1)
    process = stuck_in_the_first_of(world, 1)
    world.submit(timeout_s=50.0)
    world.submit(timeout_s=1.0)
    for task_id in (21, 22):
        process.waiting.popleft()
        world.report(process, CompletionBatch(process.id, done=[(task_id, b"out", None)], busy_s=1e-5))
        world.settle()
        began = world.now
    world.run_until(lambda: world.task(23).state is TaskState.FAILED)
    assert world.now == pytest.approx(began + 1.0)


def test_what_the_killed_executor_still_says_does_not_count() -> None:
    world = World(habits=STUCK)
    session = world.session(timeout_s=1.0)
    world.submit()
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    world.now += 1.0
    world.settle()
    world.report(process, CompletionBatch(process.id, done=[(1, b"late", None)], busy_s=1.0))
    world.settle()
    assert (world.task(1).state, world.task(1).output) == (TaskState.FAILED, None)


def test_a_day_of_patience_keeps_nothing_on_the_agenda_for_a_day() -> None:
    """The entry kept the executor, and with it the session and its data, in memory."""
    world = World()
    world.session(timeout_s=86_400.0)
    world.submit()
    world.run_until(world.is_done)
    world.close()
    world.run(130.0)
    assert world.engine.next_deadline is None


def test_a_task_of_a_day_times_out_after_a_day() -> None:
    world = World(habits=STUCK)
    session = world.session(timeout_s=86_400.0)
    world.submit()
    world.run_until(lambda: session.running == 1)
    began = world.now
    world.run_until(world.is_done, 100_000.0)
    assert world.now == pytest.approx(began + 86_400.0)


def test_without_a_timeout_a_task_may_run_for_ever() -> None:
    world = World(habits=STUCK)
    session = world.session()
    world.submit()
    world.run(10 * 86_400.0)
    assert session.running == 1


def test_many_quick_tasks_leave_one_entry_on_the_agenda() -> None:
    world = World(cpus=1, habits=Habits(task_s=0.001))
    world.session(timeout_s=30.0)
    world.submit(300)
    world.run_until(world.is_done)
    assert len(world.engine.state._agenda) < 5
