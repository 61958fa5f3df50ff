"""Executors that die, with and without tasks in their hands."""

from __future__ import annotations

from flamepy.core.types import TaskState
from flamepy.protocol import CompletionBatch
from hearth.engine.events import EventCode
from hearth.engine.views import task_info
from tests.hearth.engine.driver import Habits, Process, World


def warm_executor(world: World, tasks: int) -> Process:
    """One executor with an open window that holds that many tasks, ids from 21 on, and works on none."""
    world.session()
    world.next_habits.append(Habits(task_s=1e-5))
    world.submit(1)
    world.run_until(world.is_done)
    for _ in range(19):
        world.submit(1)
        world.run_until(world.is_done)
    (process,) = world.alive
    process.habits = Habits(task_s=None)
    world.submit(tasks)
    assert [task.id for task in process.waiting] == list(range(21, 21 + tasks))
    return process


def test_a_task_without_retries_fails_at_once_with_the_reason() -> None:
    world = World(habits=Habits(task_s=None))
    session = world.session(max_retries=0)
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    world.kill(process.id)
    state, output, message = stream.results[1]
    assert (state, output) == (TaskState.FAILED, None)
    assert message == f"executor {process.id} was killed by SIGKILL"


def test_several_tasks_of_a_killed_executor_are_done_by_others_each_alone() -> None:
    world = World(cpus=2)
    process = warm_executor(world, 10)
    world.habits = Habits(task_s=1e-5)
    before = len(world.dispatched)
    world.kill(process.id)
    world.run_until(world.is_done)
    session = world.engine.state.session("s")
    assert (session.succeed, session.failed) == (30, 0)
    assert [task_ids for _, task_ids in world.dispatched[before:]] == [[task_id] for task_id in range(21, 31)]


def test_a_returned_task_says_so_in_its_events() -> None:
    world = World(cpus=2)
    process = warm_executor(world, 2)
    world.kill(process.id)
    world.run_until(world.is_done)
    events = task_info(world.engine.state.session("s"), world.task(21)).events
    (returned,) = [event for event in events if event.code == EventCode.RETURNED]
    assert returned.message == f"Task was returned to <Pending>: executor {process.id} was killed by SIGKILL"
    assert sorted(event.code for event in events) == [0, 1, 2, EventCode.RETURNED]


def test_only_the_poison_task_fails_the_others_succeed() -> None:
    world = World(cpus=2)
    process = warm_executor(world, 8)
    poison = 25

    def kill_poisoned() -> None:
        for victim in world.alive:
            if victim.waiting and victim.waiting[0].id == poison:
                world.kill(victim.id)

    world.habits = Habits(task_s=0.01)
    world.kill(process.id)
    while not world.is_done():
        world.run(0.005)
        kill_poisoned()
    session = world.engine.state.session("s")
    assert [task.id for task in session.tasks if task.state is TaskState.FAILED] == [poison]
    assert session.succeed == 27


def test_what_a_dead_executor_answered_before_its_end_counts() -> None:
    world = World(cpus=2)
    process = warm_executor(world, 3)
    world.report(process, CompletionBatch(process.id, done=[(21, b"out", None), (22, b"out", None)]))
    world.kill(process.id)
    assert world.task(21).state is TaskState.SUCCEED
    assert world.task(22).state is TaskState.SUCCEED
    assert world.task(23).attempts == 1, "held alone, it is to blame"


def test_the_end_of_an_executor_told_twice_or_of_an_unknown_one_changes_nothing() -> None:
    world = World()
    world.session(min_instances=1)
    world.run(1.0)
    (process,) = world.alive
    world.kill(process.id)
    world.engine.executors.exited(process.id, "again", world.now)
    world.engine.executors.exited("ghost", "who", world.now)
    world.run(1.0)
    assert len(world.alive) == 1
    assert world.engine.state.free.cpu == 3


def test_a_dead_executor_is_replaced_while_tasks_wait() -> None:
    world = World(cpus=1, habits=Habits(task_s=0.1))
    world.session(max_retries=0)
    world.submit(5)
    world.run(0.3)
    world.kill(world.alive[0].id)
    world.run_until(world.is_done)
    session = world.engine.state.session("s")
    assert (session.succeed, session.failed) == (4, 1)


def test_a_session_whose_warm_executor_dies_gets_another() -> None:
    world = World()
    session = world.session(min_instances=2)
    world.run(1.0)
    world.kill(world.alive[0].id)
    world.run(1.0)
    assert session.alive == 2
    assert all(executor.is_idle for executor in session.executors.values())


def test_nothing_joins_a_suspect_task_however_wide_the_window() -> None:
    world = World(cpus=2, habits=Habits(task_s=1e-5))
    world.session()
    world.submit(100)
    world.run_until(world.is_done)
    first, second = world.alive
    first.habits = second.habits = Habits(task_s=None)
    world.submit(4)
    world.kill(first.id)  # its two tasks come back; the other finishes its own and gets them one by one
    for _ in range(3):
        done = [(task.id, b"", None) for task in second.waiting]
        second.waiting.clear()
        world.report(second, CompletionBatch(second.id, done=list(done), busy_s=1e-5))
        world.settle()
        world.submit(3)
        if all(not task.is_suspect for task in second.waiting):
            break
        assert len(second.waiting) == 1
    assert second.worked[-1] > 104


def test_an_instance_that_always_dies_idle_is_not_started_for_ever() -> None:
    world = World()
    session = world.session(min_instances=1)
    for _ in range(10):
        world.run(5.0)
        for process in world.alive:
            world.kill(process.id)
    assert len(world.launches) == 5
    assert session.gave_up is not None


def test_a_task_tells_which_executor_has_it_or_had_it_last() -> None:
    world = World(cpus=2)
    world.session(max_retries=0)
    world.habits = Habits(task_s=None, enter_s=1.0)
    world.submit(1)
    session = world.engine.state.session("s")
    assert task_info(session, world.task(1)).executor is None
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    assert task_info(session, world.task(1)).executor == process.id
    world.kill(process.id)
    world.run_until(world.is_done)
    assert task_info(session, world.task(1)).executor == process.id


def test_a_task_that_is_done_by_another_executor_tells_of_that_one() -> None:
    world = World(cpus=2)
    process = warm_executor(world, 2)
    world.habits = Habits(task_s=1e-5)
    world.kill(process.id)
    world.run_until(world.is_done)
    session = world.engine.state.session("s")
    assert task_info(session, world.task(21)).executor not in (None, process.id)
