"""The engine as a whole: the same every time, quiet when it drains, honest to watchers."""

from __future__ import annotations

import random

from flamepy.core.types import TaskState
from flamepy.protocol import CompletionBatch
from tests.hearth.engine.driver import Habits, World


def eventful_hour(seed: int) -> list[str]:
    chance = random.Random(seed)
    world = World(cpus=4, habits=Habits(task_s=0.01))
    for name in ("a", "b", "c"):
        world.session(name, max_instances=chance.randint(1, 4))
    for _ in range(60):
        world.submit(chance.randint(1, 20), chance.choice("abc"), world.stream(chance.choice("abc")))
        world.run(chance.random())
        if world.alive and chance.random() < 0.2:
            world.kill(chance.choice(world.alive).id)
    return world.trace


def test_the_same_inputs_give_the_same_actions() -> None:
    first, second, other = eventful_hour(1), eventful_hour(1), eventful_hour(2)
    assert len(first) > 300
    assert first == second
    assert first != other


def test_a_step_without_news_wants_nothing_done() -> None:
    world = World()
    world.session(min_instances=1)
    world.submit(3)
    assert world.engine.step(world.now) == []
    world.run(1000.0)
    assert world.engine.step(world.now) == []


def test_an_engine_with_nothing_to_do_has_no_deadline() -> None:
    world = World()
    assert world.engine.next_deadline is None
    world.session()
    world.submit()
    world.run_until(world.is_done)
    world.close()
    world.run(3600.0)
    assert world.engine.next_deadline is None


def test_draining_dispatches_and_launches_nothing_and_takes_the_answers() -> None:
    world = World(cpus=1, habits=Habits(task_s=5.0))
    session = world.session()
    stream = world.stream()
    world.submit(3, stream=stream)
    world.run_until(lambda: session.running == 1)
    world.engine.state.is_draining = True
    before = len(world.dispatched), len(world.launches)
    world.session("other", min_instances=1)
    world.submit(1)
    world.run(100.0)
    assert (len(world.dispatched), len(world.launches)) == before
    assert stream.states == {1: TaskState.SUCCEED}
    assert (len(session.pending), session.running) == (3, 0)


# -- watchers


def test_a_watcher_sees_every_later_state_once_and_then_no_more() -> None:
    world = World()
    session = world.session()
    world.submit(2)
    world.engine.tasks.watch("s", 1, "early")
    assert world.engine.tasks.watch("s", 2, "other")[1].state is TaskState.PENDING
    world.run_until(lambda: session.running == 2)
    world.engine.tasks.watch("s", 1, "late")
    world.run_until(world.is_done)
    world.close()
    assert world.told == {
        "early": [TaskState.RUNNING, TaskState.SUCCEED],
        "other": [TaskState.RUNNING, TaskState.SUCCEED],
        "late": [TaskState.SUCCEED],
    }
    assert not session.watchers


def test_a_task_that_has_ended_is_not_watched() -> None:
    world = World()
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    assert world.engine.tasks.watch("s", 1, "w")[1].state is TaskState.SUCCEED
    assert not session.watchers


def test_a_watcher_learns_that_its_task_waits_again() -> None:
    """It was told "running" twice, and nothing in between."""
    world = World(cpus=1, habits=Habits(task_s=None))
    session = world.session()
    world.submit()
    world.engine.tasks.watch("s", 1, "w")
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    process.waiting.clear()
    world.report(process, CompletionBatch(process.id, returned=[1]))  # and it is dealt to it again in the same step
    world.settle()
    world.report(process, CompletionBatch(process.id, done=[(1, b"", None)]))
    world.settle()
    assert world.told["w"] == [TaskState.RUNNING, TaskState.PENDING, TaskState.RUNNING, TaskState.SUCCEED]


def test_a_watcher_of_a_cancelled_task_is_told() -> None:
    world = World()
    world.session()
    world.submit()
    world.engine.tasks.watch("s", 1, "w")
    world.close()
    assert world.told["w"] == [TaskState.CANCELLED]


def test_a_watcher_that_left_is_told_nothing_and_leaves_nothing_behind() -> None:
    world = World()
    session = world.session()
    world.submit()
    for watcher in ("stays", "leaves"):
        world.engine.tasks.watch("s", 1, watcher)
    world.engine.tasks.unwatch("s", 1, "leaves")
    world.engine.tasks.unwatch("s", 1, "never came")
    world.engine.tasks.unwatch("ghost", 1, "leaves")
    world.run_until(world.is_done)
    assert list(world.told) == ["stays"]
    world.submit()
    world.engine.tasks.watch("s", 2, "w")
    world.engine.tasks.unwatch("s", 2, "w")
    assert not session.watchers
