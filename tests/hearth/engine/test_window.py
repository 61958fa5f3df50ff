"""How many tasks an executor holds follows from how long they take."""

from __future__ import annotations

import math

import pytest

from hearth.engine.window import Window
from tests.hearth.engine.driver import Habits, World


def measured(task_s: float, reports: int = 10) -> Window:
    window = Window()
    for _ in range(reports):
        window.measure(5, 5 * task_s)
    return window


def test_a_window_starts_at_one() -> None:
    assert Window().size == 1


@pytest.mark.parametrize(("task_s", "size"), [(10.0, 1), (0.02, 1), (0.001, 10), (1e-4, 100), (1e-6, 512), (0.0, 512)])
def test_the_window_holds_ten_milliseconds_of_work(task_s: float, size: int) -> None:
    assert measured(task_s).size == pytest.approx(size, abs=1)


def test_one_odd_task_closes_the_window_for_a_few_reports_only() -> None:
    window = measured(1e-5)
    window.measure(1, 1.0)
    assert window.size == 1
    for _ in range(20):
        window.measure(1, 1e-5)
    assert window.size > 400


def test_a_closed_window_waits_for_the_next_report() -> None:
    window = measured(1e-5)
    window.close()
    assert window.size == 1
    window.measure(100, 0.001)
    assert window.size > 100


@pytest.mark.parametrize("busy_s", [math.nan, math.inf, -1.0, 0.0])
def test_whatever_an_executor_says_it_took_the_window_stays_within_its_bounds(busy_s: float) -> None:
    window = Window()
    for _ in range(3):
        window.measure(1, busy_s)
        assert 1 <= window.size <= 512


def test_microsecond_tasks_travel_in_hundreds_and_long_ones_singly() -> None:
    for task_s, batch in ((1e-6, 100), (1.0, 1)):
        world = World(cpus=1, habits=Habits(task_s=task_s))
        world.session()
        world.submit(300)
        world.run_until(world.is_done)
        largest = max(len(task_ids) for _, task_ids in world.dispatched)
        assert largest >= batch if batch > 1 else largest == 1
