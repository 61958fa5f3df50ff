"""Tasks whose executor died with them: done again a few times, after a pause each, and then given up."""

from __future__ import annotations

import math

import pytest

from flamepy.core.types import FlameError, FlameErrorCode, TaskState
from flamepy.protocol import TaskOptions
from hearth.engine.events import EventCode
from hearth.engine.state import Limits
from hearth.engine.views import session_info, task_info
from tests.hearth.engine.driver import Habits, World

STUCK = Habits(task_s=None)


def kill_at_work(world: World, times: int, session_id: str = "s") -> None:
    """So many times wait until the session's only task runs, and kill who runs it."""
    session = world.engine.state.session(session_id)
    for _ in range(times):
        world.run_until(lambda: session.running == 1)
        (executor,) = [executor for executor in session.executors.values() if executor.in_flight]
        world.kill(executor.id)


def messages(world: World, task_id: int = 1, code: int = EventCode.RETURNED) -> list[str]:
    info = task_info(world.engine.state.session("s"), world.task(task_id))
    return [event.message or "" for event in info.events if event.code == code]


def test_a_task_whose_executor_died_is_done_again() -> None:
    world = World()
    session = world.session()
    stream = world.stream()
    world.next_habits.append(STUCK)
    world.submit(stream=stream)
    kill_at_work(world, 1)
    assert world.task(1).state is TaskState.PENDING
    assert session_info(session).pending == 1
    assert not stream.results
    world.run_until(world.is_done)
    assert stream.states == {1: TaskState.SUCCEED}
    assert (session.succeed, session.failed) == (1, 0)


def test_each_attempt_is_an_event_that_says_who_died_how_and_which_attempt_it_was() -> None:
    world = World(habits=STUCK)
    world.session()
    world.submit()
    kill_at_work(world, 2)
    first, second = messages(world)
    assert first == (
        f"Task was returned to <Pending> after attempt 1 of 4: executor {world.launches[0][1]} was killed by SIGKILL"
    )
    assert second.startswith("Task was returned to <Pending> after attempt 2 of 4: executor ")


def test_after_its_retries_the_task_fails_with_the_number_of_attempts_and_the_last_reason() -> None:
    world = World(habits=STUCK)
    session = world.session()
    stream = world.stream()
    world.submit(stream=stream)
    kill_at_work(world, 3)
    assert not stream.results
    kill_at_work(world, 1)
    state, _, text = stream.results[1]
    assert state is TaskState.FAILED
    assert text == f"given up after 4 attempts: executor {world.launches[3][1]} was killed by SIGKILL"
    assert messages(world, code=EventCode.FAILED) == [text]
    assert len(messages(world)) == 3
    assert session.failed == 1


@pytest.mark.parametrize(
    ("limit", "of_session", "of_task", "attempts"),
    [(3, None, None, 4), (1, None, None, 2), (3, 1, None, 2), (3, 0, None, 1), (3, 5, 0, 1), (0, 0, 2, 3)],
)
def test_the_task_says_then_its_session_then_the_instance_how_often(
    limit: int, of_session: int | None, of_task: int | None, attempts: int
) -> None:
    world = World(habits=STUCK, limits=Limits(max_retries=limit))
    session = world.session(max_retries=of_session)
    world.submit(max_retries=of_task)
    kill_at_work(world, attempts)
    assert session.failed == 1
    assert world.task(1).attempts == attempts


def test_the_pause_before_an_attempt_doubles_and_stays_short() -> None:
    world = World(habits=Habits(start_s=0.0, enter_s=0.0, task_s=None), limits=Limits(retry_backoff_s=0.05))
    world.session(max_retries=9)
    world.submit()
    pauses = []
    for _ in range(9):
        kill_at_work(world, 1)
        died = world.now
        world.run_until(lambda: not world.engine.state.session("s").delayed)
        pauses.append(round(world.now - died, 6))
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2, 3.2]


def test_no_idle_executor_takes_the_task_before_its_pause_is_over() -> None:
    world = World(cpus=2, habits=Habits(task_s=1.0), limits=Limits(retry_backoff_s=0.5))
    session = world.session(min_instances=2)
    world.run(1.0)
    world.submit()
    kill_at_work(world, 1)
    assert any(executor.is_idle for executor in session.executors.values())
    world.run(0.4)
    assert world.task(1).state is TaskState.PENDING
    world.run(0.2)
    assert world.task(1).state is TaskState.RUNNING


def test_a_paused_task_does_not_hold_up_the_others() -> None:
    world = World(cpus=1, limits=Limits(retry_backoff_s=100.0))
    session = world.session()
    world.next_habits.append(STUCK)
    world.submit()
    kill_at_work(world, 1)
    world.submit(5)
    world.run_until(lambda: session.succeed == 5)
    assert world.task(1).state is TaskState.PENDING
    world.run_until(world.is_done)
    assert session.succeed == 6


def test_a_task_done_again_is_alone_so_that_its_next_death_blames_no_other() -> None:
    world = World(cpus=1, habits=Habits(task_s=1e-5))
    world.session()
    world.submit(200)
    world.run_until(world.is_done)  # the window is open
    world.alive[0].habits = STUCK
    world.submit()
    kill_at_work(world, 1)
    world.habits = STUCK
    world.submit(3)
    world.run_until(lambda: world.task(201).state is TaskState.RUNNING or world.task(202).state is TaskState.RUNNING)
    assert [len(process.waiting) for process in world.alive] == [1]


def test_a_watcher_is_told_that_its_task_waits_again() -> None:
    world = World(cpus=1)
    world.session()
    world.next_habits.append(STUCK)
    world.submit()
    world.engine.tasks.watch("s", 1, "w")
    kill_at_work(world, 1)
    world.run_until(world.is_done)
    assert world.told["w"] == [TaskState.RUNNING, TaskState.PENDING, TaskState.RUNNING, TaskState.SUCCEED]


def test_closing_cancels_a_paused_task() -> None:
    world = World(habits=STUCK)
    session = world.session()
    world.submit()
    kill_at_work(world, 1)
    world.close()
    assert world.task(1).state is TaskState.CANCELLED
    world.run(60.0)
    assert session.cancelled == 1
    assert not world.alive


def test_a_paused_task_fails_when_its_session_gives_up() -> None:
    world = World(limits=Limits(retry_backoff_s=1000.0))
    session = world.session()
    world.next_habits.append(STUCK)
    world.submit()
    world.habits = Habits(enter_failure="no")
    kill_at_work(world, 1)
    world.run_until(world.is_done)
    assert session.gave_up is not None
    assert world.task(1).state is TaskState.FAILED


def test_a_service_that_dies_at_each_of_its_tasks_ends() -> None:
    world = World(cpus=2, habits=STUCK)
    session = world.session(max_retries=2)
    world.submit(5)
    while not world.is_done():
        world.run(0.3)
        for process in world.alive:
            if process.waiting:
                world.kill(process.id)
    assert session.failed == 5
    assert all(task.attempts == 3 for task in session.tasks)
    world.submit()
    assert session.gave_up is None, "that is the tasks' fault, not the service's"


def test_the_events_of_a_task_that_may_be_done_again_for_ever_are_bounded() -> None:
    world = World(habits=Habits(start_s=0.0, enter_s=0.0, task_s=None), limits=Limits(retry_backoff_s=0.0))
    world.session(max_retries=10_000)
    world.submit()
    kill_at_work(world, 100)
    told = messages(world)
    assert len(told) == 64
    assert told[-1].startswith("Task was returned to <Pending> after attempt 100 of 10001: ")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (TaskOptions(max_retries=-1), "max_retries is -1, want 0 to"),
        (TaskOptions(timeout_s=0.0), "timeout is 0.0 s, want more than 0"),
        (TaskOptions(timeout_s=-1.0), "timeout is -1.0 s"),
        (TaskOptions(timeout_s=math.nan), "timeout is nan s"),
        (TaskOptions(timeout_s=math.inf), "timeout is inf s"),
    ],
)
def test_options_out_of_bounds_are_invalid_arguments_and_make_no_task(options: TaskOptions, text: str) -> None:
    world = World()
    session = world.session()
    with pytest.raises(FlameError, match=text) as refused:
        world.engine.tasks.submit("s", [b""], None, 1, world.now, options)
    assert refused.value.code is FlameErrorCode.INVALID_ARGUMENT
    assert not session.tasks
