"""Tasks that are cancelled while they wait, run, or are over."""

from __future__ import annotations

import pytest

from flamepy.core.types import FlameError, FlameErrorCode, TaskState
from flamepy.protocol import CompletionBatch
from hearth.engine.state import Limits
from hearth.engine.views import executor_info, task_info
from tests.hearth.engine.driver import Habits, Process, World

STUCK = Habits(task_s=None)


def stuck(world: World, tasks: int = 1) -> Process:
    """One executor that holds so many tasks, ids from 21 on, and is stuck in the first."""
    world.session(max_instances=1)
    world.next_habits.append(Habits(task_s=1e-5))
    world.submit(20)
    world.run_until(world.is_done)
    (process,) = world.alive
    process.habits = STUCK
    world.submit(tasks, stream=world.stream())
    assert len(process.waiting) == tasks
    return process


# -- what waits


def test_a_waiting_task_is_cancelled_and_never_runs() -> None:
    world = World(cpus=1)
    session = world.session()
    stream = world.stream()
    world.submit(5, stream=stream)
    assert world.cancel(2, 4) == [2, 4]
    world.run_until(world.is_done)
    assert [task_ids for _, task_ids in world.dispatched] == [[1], [3], [5]]
    assert stream.results[2] == (TaskState.CANCELLED, None, "cancelled")
    assert (session.succeed, session.cancelled) == (3, 2)


def test_the_event_of_a_cancelled_task_says_so() -> None:
    world = World()
    session = world.session()
    world.submit()
    world.cancel(1)
    event = task_info(session, world.task(1)).events[-1]
    assert (event.code, event.message) == (17, "Task was cancelled")


@pytest.mark.parametrize("count", [1, 31, 33, 290])
def test_many_waiting_tasks_are_cancelled_out_of_a_long_queue(count: int) -> None:
    world = World(cpus=1, habits=Habits(task_s=0.001))
    session = world.session()
    world.submit(300)
    cancelled = list(range(3, 3 + count))
    assert world.cancel(*cancelled[::-1]) == cancelled[::-1]
    world.run_until(world.is_done)
    assert (session.cancelled, session.succeed) == (count, 300 - count)
    assert world.engine.tasks.waiting_bytes == 0


def test_a_paused_task_is_cancelled() -> None:
    world = World(habits=STUCK)
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    world.kill(world.alive[0].id)
    assert world.cancel(1) == [1]
    world.run(60.0)
    assert session.cancelled == 1


# -- what runs


def test_a_running_task_is_cancelled_at_once_for_everyone_who_looks_or_waits() -> None:
    world = World(habits=STUCK)
    session = world.session()
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(lambda: session.running == 1)
    world.engine.tasks.watch("s", 1, "w")
    assert world.cancel(1) == [1]
    assert world.task(1).state is TaskState.CANCELLED
    assert world.told["w"] == [TaskState.CANCELLED]
    assert stream.results == {1: (TaskState.CANCELLED, None, "cancelled")}
    assert (session.running, session.cancelled) == (0, 1)
    (executor,) = session.executors.values()
    assert executor_info(executor, "node", None).running == 0


def test_the_answer_to_a_cancelled_task_is_ignored_and_its_executor_goes_on() -> None:
    world = World(cpus=1, habits=Habits(task_s=0.2))
    session = world.session()
    stream = world.stream()
    world.submit(2, stream=stream)
    world.run_until(lambda: session.running == 1)
    world.cancel(1)
    world.run_until(world.is_done)
    assert stream.states == {1: TaskState.CANCELLED, 2: TaskState.SUCCEED}
    assert (len(world.launches), len(world.kills)) == (1, 0)
    assert world.engine.tasks.held_bytes == len(b"in") * 2 + len(b"out")


def test_an_executor_that_stays_at_a_cancelled_task_is_killed_after_the_grace_and_replaced() -> None:
    world = World(cpus=1, limits=Limits(cancel_grace_s=0.25))
    session = world.session()
    world.next_habits.append(STUCK)
    world.submit(2)
    world.run_until(lambda: session.running == 1)
    began = world.now
    world.run(100.0)
    world.cancel(1)
    world.run_until(world.is_done)
    ((when, killed),) = world.kills
    assert when == pytest.approx(began + 100.25)
    assert killed == world.launches[0][1]
    assert (session.succeed, session.cancelled, session.failed) == (1, 1, 0)
    assert not session.events


def test_others_in_the_hands_of_the_killed_executor_wait_again_without_blame() -> None:
    world = World(cpus=1)
    stuck(world, 8)
    session = world.engine.state.session("s")
    world.cancel(21, 25)
    world.run_until(world.is_done)
    assert (session.succeed, session.cancelled) == (26, 2)
    assert not any(task.is_suspect or task.attempts for task in session.tasks)
    assert len(world.kills) == 1


def test_a_cancelled_task_that_was_not_begun_is_no_reason_to_kill() -> None:
    world = World(cpus=1)
    process = stuck(world, 3)
    world.cancel(22)
    world.run(100.0)
    assert not world.kills
    process.waiting.popleft()
    world.report(process, CompletionBatch(process.id, done=[(21, b"out", None)]))
    world.settle()
    world.run(0.2)
    assert not world.kills, "its grace begins when it is begun"
    world.run(0.1)
    assert len(world.kills) == 1


def test_a_cancelled_task_that_is_given_back_does_not_wait_again() -> None:
    world = World(cpus=1)
    process = stuck(world, 3)
    world.cancel(23)
    world.give_back(process)
    session = world.engine.state.session("s")
    assert [task.id for task in session.pending] == [22]
    assert world.task(23).state is TaskState.CANCELLED


def test_an_executor_that_dies_with_a_cancelled_task_blames_nobody() -> None:
    world = World(cpus=1)
    process = stuck(world, 1)
    session = world.engine.state.session("s")
    world.cancel(21)
    world.kill(process.id)
    assert (session.cancelled, session.failed, len(session.pending)) == (1, 0, 0)
    assert not session.executors
    assert not session.events


def test_the_death_of_an_executor_with_one_task_and_one_cancelled_task_is_no_attempt() -> None:
    """It may have been at work on either."""
    world = World(cpus=1)
    process = stuck(world, 2)
    world.cancel(22)
    world.kill(process.id)
    assert world.task(21).is_suspect
    assert world.task(21).attempts == 0
    world.run_until(world.is_done)
    assert world.task(21).state is TaskState.SUCCEED


def test_a_session_whose_only_running_task_was_cancelled_closes() -> None:
    world = World(habits=Habits(task_s=None, leave_s=None))
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    world.cancel(1)
    world.close()
    world.run(1.0)
    assert not world.alive, "its executor does not leave, and is killed for the cancelled task"


def test_cancelling_twice_does_not_prolong_the_grace() -> None:
    world = World(habits=STUCK)
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    began = world.now
    world.cancel(1)
    world.run(0.2)
    assert world.cancel(1, 1) == []
    world.run_until(lambda: bool(world.kills))
    assert world.now == pytest.approx(began + 0.25)


# -- what is over, and what never was


def test_a_finished_task_is_not_cancelled() -> None:
    world = World()
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    assert world.cancel(1) == []
    assert world.task(1).state is TaskState.SUCCEED
    assert session.cancelled == 0


@pytest.mark.parametrize("task_id", [0, 3, -1])
def test_an_unknown_task_is_not_found_and_the_known_ones_stay(task_id: int) -> None:
    world = World()
    session = world.session()
    world.submit(2)
    with pytest.raises(FlameError, match=f"task {task_id} not found") as refused:
        world.cancel(1, task_id)
    assert refused.value.code is FlameErrorCode.NOT_FOUND
    assert session.cancelled == 0


def test_tasks_of_an_unknown_session_are_not_found() -> None:
    world = World()
    with pytest.raises(FlameError, match="'ghost' not found"):
        world.cancel(1, session_id="ghost")
    world.session()
    stream = world.stream()
    with pytest.raises(FlameError, match="'ghost' not found"):
        world.engine.cancellation.cancel_numbers("ghost", stream.subscription, [1], world.now)


# -- by the client's own numbers


def test_a_client_cancels_by_its_own_numbers_and_only_its_own_tasks() -> None:
    world = World(cpus=2, habits=STUCK)
    session = world.session(max_instances=1)
    first, second = world.stream(), world.stream()
    tasks = world.engine.tasks
    tasks.submit("s", [b""] * 3, first.subscription, 1, world.now)  # ids 1 to 3
    tasks.submit("s", [b""] * 3, second.subscription, 1, world.now)  # ids 4 to 6
    tasks.submit("s", [b""] * 2, first.subscription, 4, world.now)  # ids 7 and 8
    world.settle()
    world.run_until(lambda: session.running == 1)
    cancel = world.engine.cancellation.cancel_numbers
    assert sorted(cancel("s", first.subscription, [1, 3, 5, 99], world.now)) == [1, 3, 8]
    assert cancel("s", first.subscription, [1, 3, 5], world.now) == []
    assert cancel("s", second.subscription, [2], world.now) == [5]
    world.settle()
    assert sorted(first.states) == [1, 3, 5]
    assert sorted(second.states) == [2]


def test_a_number_that_was_refused_cancels_nobodys_task() -> None:
    world = World(cpus=0)
    world.session()
    mine, theirs = world.stream(), world.stream()
    tasks = world.engine.tasks
    tasks.submit("s", [b""] * 2, mine.subscription, 1, world.now)  # ids 1 and 2
    tasks.submit("s", [b""] * 2, theirs.subscription, 1, world.now)  # ids 3 and 4, as mine would have had
    tasks.submit("s", [b""], mine.subscription, 5, world.now)  # id 5: 3 and 4 were refused
    assert world.engine.cancellation.cancel_numbers("s", mine.subscription, [3, 4, 5], world.now) == [5]
    world.settle()


def test_clients_that_take_turns_for_long_still_cancel_their_first_tasks() -> None:
    world = World(cpus=0)
    world.session()
    streams = world.stream(), world.stream()
    for number in range(1, 2001):
        for stream in streams:
            world.engine.tasks.submit("s", [b""], stream.subscription, number, world.now)
    cancel = world.engine.cancellation.cancel_numbers
    assert sorted(cancel("s", streams[1].subscription, [1, 2, 1000, 1999, 2001], world.now)) == [2, 4, 2000, 3998]
    world.settle()
