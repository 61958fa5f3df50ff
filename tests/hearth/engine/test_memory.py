"""Inputs and outputs in memory are bounded."""

from __future__ import annotations

import pytest

from flamepy.core.types import FlameError, FlameErrorCode, TaskState
from hearth.engine.state import Limits
from hearth.engine.views import task_info
from tests.hearth.engine.driver import Habits, World

LIMITS = Limits(held_bytes=1000)


def test_the_data_of_the_oldest_finished_task_goes_first() -> None:
    world = World(limits=LIMITS)
    session = world.session()
    for _ in range(3):
        world.submit(data=bytes(300))
        world.run_until(world.is_done)
    assert world.engine.tasks.held_bytes == 909
    world.submit(data=bytes(300))
    assert [task.is_forgotten for task in session.tasks] == [True, False, False, False]
    info = task_info(session, world.task(1))
    assert (info.input, info.output, info.state) == (None, None, TaskState.SUCCEED)
    assert "memory bound" in (info.events[-1].message or "")


def test_waiting_data_is_never_dropped_new_tasks_are_refused() -> None:
    world = World(limits=LIMITS, habits=Habits(start_s=30.0))
    session = world.session()
    world.submit(3, data=bytes(300))
    with pytest.raises(FlameError, match="holds 900 bytes of waiting tasks, 200 more would pass its limit") as refused:
        world.submit(2, data=bytes(100))
    assert refused.value.code is FlameErrorCode.INVALID_STATE
    assert len(session.tasks) == 3
    world.submit(1, data=bytes(100))
    world.run_until(world.is_done)
    assert session.succeed == 4


def test_a_refused_submission_drops_nothing() -> None:
    """The data of finished tasks went first, and only then it turned out not to be enough."""
    world = World(limits=LIMITS)
    session = world.session()
    world.submit(data=bytes(300))
    world.run_until(world.is_done)
    world.habits = Habits(task_s=None)
    world.alive[0].habits = Habits(task_s=None)
    world.submit(data=bytes(500))
    with pytest.raises(FlameError, match="wait for results"):
        world.submit(data=bytes(600))
    assert world.task(1).input == bytes(300)
    assert not any(task.is_forgotten for task in session.tasks)


def test_a_result_is_delivered_although_its_data_was_dropped() -> None:
    world = World(limits=LIMITS)
    world.session()
    stream = world.stream()
    for _ in range(10):
        world.submit(data=bytes(900), stream=stream)
        world.run_until(world.is_done)
    assert [output for _, output, _ in stream.results.values()] == [b"out"] * 10


def test_what_is_submitted_after_a_refusal_is_taken_when_there_is_room_again() -> None:
    world = World(limits=LIMITS)
    session = world.session()
    world.submit(data=bytes(900))
    with pytest.raises(FlameError):
        world.submit(data=bytes(900))
    world.run_until(world.is_done)
    world.submit(data=bytes(900))
    world.run_until(world.is_done)
    assert session.succeed == 2


def test_a_submission_larger_than_the_bound_is_refused() -> None:
    world = World(limits=LIMITS)
    world.session()
    with pytest.raises(FlameError, match="1001 more would pass its limit of 1000"):
        world.submit(data=bytes(1001))
