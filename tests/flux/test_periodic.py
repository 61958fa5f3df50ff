"""The watcher of the wall clock. The clock is the test's own where it has to be set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from flux.core import periodic

if TYPE_CHECKING:
    import flux

Calls = list[Any]
INTERVAL = 0.02


class Clock:
    """A wall clock that goes as the real one does, and can be set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(periodic, "time", clock)
    return clock


def run_until(handle: flux.Flux, calls: Calls, wanted: int) -> None:
    """Run the reactor until there are so many calls, at most two seconds."""

    def look(*_: object) -> None:
        if len(calls) >= wanted:
            handle.reactor_stop()

    def give_up(*_: object) -> None:
        handle.reactor_stop_error()

    with handle.timer_watcher_create(2.0, give_up), handle.timer_watcher_create(0, look, 0.005):
        assert handle.reactor_run() >= 0, calls


def test_it_calls_at_the_multiples_of_its_interval(handle: flux.Flux) -> None:
    calls: Calls = []

    def called(*args: object) -> None:
        calls.append((time.time(), args))

    watcher = handle.periodic_watcher_create(0.005, INTERVAL, called, args="mine")
    with watcher:
        run_until(handle, calls, 3)
    for when, args in calls:
        assert 0 <= (when - 0.005) % INTERVAL < INTERVAL
        assert args == (handle, watcher, 0, "mine")
    numbers = [int((when - 0.005) / INTERVAL) for when, _ in calls]
    assert numbers == sorted(set(numbers))


def test_without_an_interval_it_calls_once_at_its_time(handle: flux.Flux) -> None:
    calls: Calls = []
    due = time.time() + 0.01
    watcher = handle.periodic_watcher_create(due, 0, lambda *_: calls.append(time.time())).start()
    assert handle.reactor_run() == 0
    assert len(calls) == 1
    assert calls[0] >= due
    assert not watcher.is_active
    handle.periodic_watcher_create(1, 0, lambda *_: calls.append("past")).start()
    assert handle.reactor_run() == 0
    assert calls[1:] == ["past"]


def test_a_clock_set_forward_makes_up_for_what_it_jumped_over_with_one_call(handle: flux.Flux, clock: Clock) -> None:
    calls: Calls = []

    def called(*_: object) -> None:
        calls.append(clock.time())

    with handle.periodic_watcher_create(0, 3600, called):
        handle.reactor_run(flags=1)
        assert calls == []
        clock.ahead += 5 * 3600
        run_until(handle, calls, 1)
        handle.reactor_run(flags=1)
    assert len(calls) == 1


def test_a_clock_set_back_does_not_silence_it(handle: flux.Flux, clock: Clock) -> None:
    calls: Calls = []
    clock.ahead = 7200
    with handle.periodic_watcher_create(0, INTERVAL, lambda *_: calls.append(clock.time())):
        run_until(handle, calls, 1)
        clock.ahead = 0
        before = calls.copy()
        run_until(handle, calls, len(before) + 2)
    assert max(calls[len(before) :]) < min(before)


def test_numbers_below_zero_are_refused(handle: flux.Flux) -> None:
    for offset, interval in ((-1, 1), (0, -1), (0, float("nan"))):
        with pytest.raises(OSError, match="EINVAL: Invalid argument"):
            handle.periodic_watcher_create(offset, interval, print)


def test_stopped_it_calls_no_more_and_unreferenced_it_holds_nothing(handle: flux.Flux) -> None:
    calls: Calls = []
    watcher = handle.periodic_watcher_create(0, INTERVAL, calls.append).start()
    watcher.stop()
    assert handle.reactor_run() == 0
    watcher.start().unref()
    assert handle.reactor_run() == 0
    watcher.destroy()
    watcher.start()
    assert not watcher.is_active
    assert not calls
