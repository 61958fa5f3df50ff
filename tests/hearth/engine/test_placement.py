"""Who gets executors, how many, and who gives them up."""

from __future__ import annotations

import pytest

from flamepy.core.types import ApplicationAttributes, ResourceRequirement
from flamepy.protocol import CompletionBatch
from hearth.engine.state import Limits
from tests.hearth.engine.driver import GIB, Habits, World


def test_sequential_tasks_of_a_default_session_reach_one_executor() -> None:
    world = World(cpus=8)
    world.session()
    for _ in range(30):
        world.submit()
        world.run_until(world.is_done)
    assert len(world.launches) == 1


def test_a_session_grows_to_one_executor_a_task_at_once() -> None:
    world = World(cpus=8)
    world.session()
    world.submit(6)
    assert len(world.launches) == 6


def test_a_task_goes_to_an_idle_executor_rather_than_behind_another_task() -> None:
    """It went to the first whose window had room, and the others stood by."""
    world = World(habits=Habits(task_s=0.001))
    session = world.session(min_instances=2, max_instances=2)
    world.submit(40)
    world.run_until(world.is_done)  # so their windows are wide
    for _ in range(2):
        world.submit()
    assert sorted(len(executor.in_flight) for executor in session.executors.values()) == [1, 1]


def test_minimum_instances_start_before_any_task() -> None:
    world = World()
    session = world.session(min_instances=3)
    world.run(1.0)
    assert [executor.is_idle for executor in session.executors.values()] == [True] * 3


@pytest.mark.parametrize("most", [1, 2, 3])
def test_maximum_instances_are_never_exceeded(most: int) -> None:
    world = World(cpus=8, habits=Habits(task_s=0.01))
    session = world.session(max_instances=most)
    world.submit(40)
    world.run_until(world.is_done)  # every step checks the maximum
    assert len(world.launches) == most
    assert session.succeed == 40


def test_one_instance_works_one_task_after_another() -> None:
    world = World(cpus=8, habits=Habits(task_s=0.2))
    session = world.session(max_instances=1)
    world.submit(5)
    while not world.is_done():
        assert session.running <= 1
        world.run(0.05)


def test_capacity_is_never_exceeded_in_any_dimension() -> None:
    world = World(cpus=4)  # of 1 GiB each
    session = world.session(resreq=ResourceRequirement(cpu=1, memory=2 * GIB))
    world.submit(10)
    assert len(world.launches) == 2
    world.run_until(world.is_done)  # every step checks the room
    assert session.succeed == 10


def test_a_session_that_asks_for_gpus_waits_where_there_are_none() -> None:
    world = World()
    session = world.session(resreq=ResourceRequirement(cpu=1, gpu=1))
    world.submit()
    world.run(1000.0)
    assert not world.launches
    assert [event.code for event in session.events] == [1003]


@pytest.mark.parametrize("empty", [ResourceRequirement(), None])
def test_a_request_for_nothing_is_a_request_for_the_default(empty: ResourceRequirement | None) -> None:
    """A session that asked for nothing fitted any number of times: a process for each task."""
    world = World(cpus=4)
    world.session(resreq=empty)
    world.submit(1000)
    assert len(world.launches) == 4


def test_a_session_gives_up_executors_that_it_does_not_use_when_another_waits() -> None:
    world = World(cpus=2)
    keeper = world.session("keeper")
    world.submit(2, "keeper")
    world.run_until(lambda: world.is_done("keeper"))
    assert keeper.alive == 2
    start = world.now
    world.session("other")
    world.submit(2, "other")
    world.run_until(lambda: world.is_done("other"))
    assert world.now - start < 5.0, "it waited for the release delay"
    assert keeper.alive == 0


def test_minimum_instances_are_not_given_up() -> None:
    world = World(cpus=2)
    keeper = world.session("keeper", min_instances=1)
    world.submit(2, "keeper")
    world.run_until(lambda: world.is_done("keeper"))
    world.session("other")
    world.submit(3, "other")
    world.run_until(lambda: world.is_done("other"))
    assert keeper.alive == 1


def test_a_working_executor_is_never_taken_away() -> None:
    world = World(cpus=1)
    world.next_habits.append(Habits(task_s=100.0))
    keeper = world.session("keeper")
    world.submit(1, "keeper")
    world.session("other")
    world.submit(1, "other")
    world.run(50.0)
    assert keeper.running == 1
    world.run_until(lambda: world.is_done("other"))
    assert keeper.succeed == 1
    assert world.now > 1100.0


def test_executors_that_fall_idle_while_another_session_waits_are_given_up_at_once() -> None:
    world = World(cpus=2, habits=Habits(task_s=1.0))
    world.session("keeper")
    world.submit(2, "keeper")
    world.session("other")
    world.submit(1, "other")
    world.run_until(lambda: world.is_done("other"))
    assert world.now < 1010.0


def test_a_session_too_large_for_the_instance_does_not_keep_others_from_getting_room() -> None:
    """Idle executors were given up for the first session that waits, or for nobody."""
    world = World(cpus=2)
    world.session("huge", resreq=ResourceRequirement(cpu=64), min_instances=1)
    world.session("keeper")
    world.submit(2, "keeper")
    world.run_until(lambda: world.is_done("keeper"))
    start = world.now
    world.session("other")
    world.submit(1, "other")
    world.run_until(lambda: world.is_done("other"))
    assert world.now - start < 5.0


def test_no_more_executors_are_given_up_than_needed() -> None:
    world = World(cpus=4)
    keeper = world.session("keeper")
    world.submit(4, "keeper")
    world.run_until(lambda: world.is_done("keeper"))
    world.session("other")
    world.submit(1, "other")
    world.run_until(lambda: world.is_done("other"))
    assert keeper.alive == 3


def test_idle_executors_leave_after_the_release_delay_but_the_minimum_stays() -> None:
    world = World(cpus=4, limits=Limits(delay_release_s=60.0))
    session = world.session(min_instances=1)
    world.submit(4)
    world.run_until(world.is_done)
    world.run(59.0)
    assert session.alive == 4
    world.run(2.0)
    assert session.alive == 1
    world.run(3600.0)
    assert session.alive == 1
    assert len(world.launches) == 4, "the minimum was not made anew"


def test_the_applications_own_release_delay_counts() -> None:
    world = World()
    world.register("brief", ApplicationAttributes(command="x", delay_release=5))
    session = world.session("s", "brief")
    world.submit()
    world.run_until(world.is_done)
    world.run(4.9)
    assert session.alive == 1
    world.run(0.2)
    assert session.alive == 0


def test_work_puts_the_release_off() -> None:
    world = World(limits=Limits(delay_release_s=10.0))
    session = world.session()
    for _ in range(5):
        world.submit()
        world.run(9.0)
    assert session.alive == 1
    assert len(world.launches) == 1
    world.run(2.0)
    assert session.alive == 0


def test_a_delay_of_zero_dismisses_only_what_has_nothing_to_do() -> None:
    world = World(cpus=1)
    world.register("hasty", ApplicationAttributes(command="x", delay_release=0))
    session = world.session("s", "hasty")
    world.submit(10)
    world.run_until(world.is_done)
    assert len(world.launches) == 1
    assert session.succeed == 10
    assert session.alive == 0


def test_an_executor_that_never_got_a_task_leaves_after_the_delay_too() -> None:
    """It reported while tasks waited, others took them, and nobody ever looked at it again."""
    world = World(cpus=2, limits=Limits(delay_release_s=60.0))
    world.next_habits.append(Habits(start_s=0.1, task_s=0.001))
    world.next_habits.append(Habits(start_s=0.11))
    session = world.session()
    world.submit(2)
    world.run(0.12)  # the first has done one task and holds the other; the second enters now
    first, second = world.alive
    world.run_until(world.is_done)
    assert len(first.worked) == 2
    world.run(61.0)
    assert not second.is_alive
    assert session.alive == 0


def test_an_executor_passed_over_in_the_batch_in_which_it_entered_leaves_too() -> None:
    world = World(cpus=2, limits=Limits(delay_release_s=60.0), habits=Habits(task_s=None))
    world.next_habits.append(Habits(task_s=None))
    world.next_habits.append(Habits(enter_s=None))
    session = world.session()
    world.submit(2)
    world.run(1.0)
    first, second = world.alive
    world.report(second, CompletionBatch(second.id, entered=True))
    world.report(first, CompletionBatch(first.id, done=[(1, b"", None)]))
    world.settle()
    world.report(first, CompletionBatch(first.id, done=[(2, b"", None)]))
    world.settle()
    world.run(61.0)
    assert session.alive == 0


def test_an_executor_passed_over_makes_room_at_once_when_another_session_waits() -> None:
    world = World(cpus=2, habits=Habits(task_s=None))
    world.next_habits.append(Habits(task_s=None))
    world.next_habits.append(Habits(enter_s=None))
    world.session("keeper")
    world.submit(2, "keeper")
    world.run(1.0)
    first, second = world.alive
    world.habits = Habits()
    world.session("other")
    world.submit(1, "other")
    world.report(second, CompletionBatch(second.id, entered=True))
    world.report(first, CompletionBatch(first.id, done=[(1, b"", None)]))
    world.settle()
    world.run_until(lambda: world.is_done("other"), within_s=5.0)
    assert first.is_alive
    assert not second.is_alive


def test_a_task_that_comes_as_the_idle_time_runs_out_is_done_by_the_executor_that_is_there() -> None:
    """It was dismissed in the very step that brought the task."""
    world = World(cpus=1, limits=Limits(delay_release_s=10.0))
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    world.now += 10.0
    world.submit()
    world.run_until(world.is_done)
    assert len(world.launches) == 1
    assert session.succeed == 2


def test_an_executor_that_does_not_leave_in_time_is_killed() -> None:
    world = World(limits=Limits(leave_s=10.0), habits=Habits(leave_s=None))
    world.session(min_instances=1)
    world.run(1.0)
    (process,) = world.alive
    hour = world.now
    world.close()
    world.run(9.0)
    assert process.is_alive
    world.run(2.0)
    assert world.kills == [(hour + 10.0, process.id)]
    assert world.engine.state.free == world.engine.state.capacity


def test_the_executors_of_a_closed_session_make_room_for_the_next() -> None:
    world = World(cpus=2)
    world.session("one")
    world.submit(2, "one")
    world.run_until(lambda: world.is_done("one"))
    world.close("one")
    world.session("two")
    world.submit(2, "two")
    world.run_until(lambda: world.is_done("two"))
    assert world.now < 1010.0
