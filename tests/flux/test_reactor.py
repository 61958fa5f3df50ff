from __future__ import annotations

import gc
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux.constants import (
    FLUX_O_NONBLOCK,
    FLUX_POLLERR,
    FLUX_POLLIN,
    FLUX_POLLOUT,
    FLUX_REACTOR_NOWAIT,
    FLUX_REACTOR_ONCE,
)
from flux.core.reactor import Reactor
from flux.core.timers import TimerQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flux.core.watchers import TimerWatcher

Calls = list[Any]
SOON = 0.001


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def record(calls: Calls, what: object, then: Callable[[], object] | None = None) -> Callable[..., None]:
    """A callback that notes what it stands for."""

    def callback(*_: object) -> None:
        calls.append(what)
        if then is not None:
            then()

    return callback


def fail(*_: object) -> None:
    raise RuntimeError("from a callback")


# Timers


def test_a_timer_calls_once_with_what_it_was_given(handle: flux.Flux) -> None:
    calls: Calls = []
    timer = handle.timer_watcher_create(SOON, lambda *args: calls.append(args), args="mine")
    assert timer.start() is timer
    assert handle.reactor_run() == 0
    assert calls == [(handle, timer, 0, "mine")]
    assert not timer.is_active


def test_timers_call_in_the_order_they_fall_due(handle: flux.Flux) -> None:
    calls: Calls = []
    for after in (3 * SOON, SOON, 2 * SOON):
        handle.timer_watcher_create(after, record(calls, after)).start()
    handle.reactor_run()
    assert calls == [SOON, 2 * SOON, 3 * SOON]


def test_a_repeating_timer_calls_until_it_is_stopped(handle: flux.Flux) -> None:
    calls: Calls = []

    def callback(_handle: flux.Flux, watcher: TimerWatcher, _revents: int, _args: None) -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            watcher.stop()

    started = time.monotonic()
    handle.timer_watcher_create(0, callback, repeat=0.01).start()
    assert handle.reactor_run() == 0
    assert len(calls) == 3
    assert calls[2] - started >= 0.02


def test_a_timer_that_nobody_holds_survives_the_garbage_collector(handle: flux.Flux) -> None:
    calls: Calls = []

    def callback(_handle: flux.Flux, watcher: TimerWatcher, *_: object) -> None:
        gc.collect()
        calls.append(0)
        if len(calls) == 5:
            watcher.destroy()

    handle.timer_watcher_create(SOON, callback, repeat=SOON).start()
    gc.collect()
    handle.reactor_run()
    assert len(calls) == 5


def test_a_one_shot_timer_may_start_itself_again(handle: flux.Flux) -> None:
    calls: Calls = []

    def callback(_handle: flux.Flux, watcher: TimerWatcher, *_: object) -> None:
        calls.append(watcher.is_active)
        if len(calls) < 3:
            watcher.start()

    handle.timer_watcher_create(0, callback).start()
    handle.reactor_run()
    assert calls == [False, False, False]


def test_reset_rearms_a_running_timer_from_now(handle: flux.Flux) -> None:
    calls: Calls = []
    timer = handle.timer_watcher_create(3600, record(calls, "timer")).start()
    timer.reset(after=SOON)
    assert handle.reactor_run() == 0
    assert calls == ["timer"]
    assert (timer.after, timer.repeat) == (3600, 0)


def test_two_timers_of_which_one_stops_the_other(handle: flux.Flux) -> None:
    calls: Calls = []
    second = handle.timer_watcher_create(0, record(calls, "second"))
    handle.timer_watcher_create(0, record(calls, "first", second.stop)).start()
    second.start()
    handle.reactor_run()
    assert calls == ["first"]


@pytest.mark.parametrize(("after", "repeat"), [(-1, 0), (0, -1), (float("nan"), 0), ("-3", 0)])
def test_times_below_zero_are_refused(handle: flux.Flux, after: float, repeat: float) -> None:
    with pytest.raises(OSError, match="EINVAL"):
        handle.timer_watcher_create(after, fail, repeat=repeat)


def test_times_may_be_numeric_text(handle: flux.Flux) -> None:
    assert handle.timer_watcher_create("0.5", fail, repeat="2").after == 0.5


def test_cancelled_timers_do_not_pile_up() -> None:
    queue = TimerQueue()
    for _ in range(10_000):
        queue.add(3600, fail).cancel()
    assert len(queue) < 200
    assert queue.next_due() is None


# Descriptors


def test_a_readable_descriptor_calls_until_it_is_read(handle: flux.Flux, pipe: tuple[int, int]) -> None:
    calls: Calls = []

    def callback(_handle: flux.Flux, watcher: Any, fd: int, revents: int, args: str) -> None:
        calls.append((fd, revents, args))
        if len(calls) == 2:
            assert os.read(fd, 1) == b"x"
            watcher.stop()

    os.write(pipe[1], b"x")
    handle.fd_watcher_create(pipe[0], callback, FLUX_POLLIN, "mine").start()
    assert handle.reactor_run() == 0
    assert calls == [(pipe[0], FLUX_POLLIN, "mine")] * 2


def test_two_watchers_share_a_descriptor(handle: flux.Flux, pipe: tuple[int, int]) -> None:
    calls: Calls = []
    os.write(pipe[1], b"x")
    for name in ("one", "two"):
        handle.fd_watcher_create(pipe[0], record(calls, name), FLUX_POLLIN).start()
    handle.reactor_run(flags=FLUX_REACTOR_ONCE)
    assert sorted(calls) == ["one", "two"]


def test_a_hang_up_makes_a_descriptor_readable(handle: flux.Flux) -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    calls: Calls = []
    with handle.fd_watcher_create(read_end, lambda *args: calls.append(args[3]), FLUX_POLLIN):
        handle.reactor_run(flags=FLUX_REACTOR_ONCE)
    os.close(read_end)
    assert calls == [FLUX_POLLIN]


def test_a_regular_file_is_always_ready(handle: flux.Flux, tmp_path: Any) -> None:
    calls: Calls = []
    with (tmp_path / "file").open("w+") as file, handle.fd_watcher_create(file.fileno(), record(calls, "ready")):
        for _ in range(3):
            handle.reactor_run(flags=FLUX_REACTOR_ONCE)
    assert calls == ["ready"] * 3


def test_a_descriptor_that_is_not_open_is_refused(handle: flux.Flux) -> None:
    handle.get_reactor()  # which opens descriptors of its own
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    for fd in (read_end, -1):
        watcher = handle.fd_watcher_create(fd, fail)
        with pytest.raises(OSError, match="Bad file descriptor"):
            watcher.start()
        assert not watcher.is_active
    assert handle.reactor_run() == 0


def test_a_watcher_for_no_event_is_refused(handle: flux.Flux, pipe: tuple[int, int]) -> None:
    with pytest.raises(OSError, match="EINVAL"):
        handle.fd_watcher_create(pipe[0], fail, FLUX_POLLERR).start()


def test_a_callback_may_stop_a_watcher_that_is_due(handle: flux.Flux, pipe: tuple[int, int]) -> None:
    calls: Calls = []
    watchers = [handle.fd_watcher_create(pipe[1], fail, FLUX_POLLOUT) for _ in range(2)]
    for watcher, other in zip(watchers, reversed(watchers), strict=True):
        watcher.callback = record(calls, watcher, other.stop)
        watcher.start()
    handle.reactor_run(flags=FLUX_REACTOR_ONCE)
    assert len(calls) == 1


# Signals


def test_a_signal_calls_and_the_handler_before_comes_back(handle: flux.Flux) -> None:
    calls: Calls = []
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def callback(*args: Any) -> None:
        calls.append(args)
        watcher.stop()

    watcher = handle.signal_watcher_create(signal.SIGUSR1, callback, "mine").start()
    raiser = handle.timer_watcher_create(0, lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
    raiser.start()
    assert handle.reactor_run() == 0
    assert calls == [(handle, watcher, signal.SIGUSR1, "mine")]
    assert signal.signal(signal.SIGUSR1, before) == signal.SIG_IGN


def test_a_signal_wakes_a_reactor_that_waits(handle: flux.Flux) -> None:
    watcher = handle.signal_watcher_create(signal.SIGUSR1, lambda *_: watcher.stop())
    with watcher:
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        handle.timer_watcher_create(0, lambda *_: sender.start()).start()
        assert handle.reactor_run() == 0
    sender.join()


@pytest.mark.parametrize("signum", [-500, 0, 65, 500])
def test_a_number_that_is_no_signal_is_refused(handle: flux.Flux, signum: int) -> None:
    with pytest.raises(OSError, match="invalid signal number"):
        handle.signal_watcher_create(signum, fail)


def test_a_signal_that_cannot_be_caught_is_refused(handle: flux.Flux) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        handle.signal_watcher_create(signal.SIGKILL, fail).start()


def test_ctrl_c_ends_the_reactor_and_the_handler_before_comes_back(handle: flux.Flux) -> None:
    calls: Calls = []
    before = signal.getsignal(signal.SIGINT)
    handle.signal_watcher_create(signal.SIGINT, record(calls, "the user's")).start().unref()
    handle.set_exception(RuntimeError("less urgent"))
    timer = handle.timer_watcher_create(0, lambda *_: os.kill(os.getpid(), signal.SIGINT), repeat=SOON)
    with timer, pytest.raises(KeyboardInterrupt):
        handle.reactor_run()
    assert calls[0] == "the user's"
    with pytest.raises(RuntimeError, match="less urgent"):
        handle.raise_if_exception()
    for watcher in tuple(handle._watchers):
        watcher.destroy()
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_a_blocking_call_inside_a_callback(handle: flux.Flux) -> None:
    def callback(*_: object) -> None:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        handle.recv()

    handle.timer_watcher_create(0, callback).start()
    with pytest.raises(KeyboardInterrupt):
        handle.reactor_run()
    assert not handle.reactor_running()


def test_a_blocking_call_after_ctrl_c_does_not_wait(handle: flux.Flux) -> None:
    def callback(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        handle.recv()

    handle.timer_watcher_create(0, callback).start()
    with pytest.raises(KeyboardInterrupt):
        handle.reactor_run()
    with pytest.raises(BlockingIOError):
        handle.recv(flags=FLUX_O_NONBLOCK)


def test_in_another_thread_the_reactor_leaves_signals_alone(handle: flux.Flux) -> None:
    results: Calls = []

    def run() -> None:
        handle.timer_watcher_create(0, fail).start()
        try:
            handle.reactor_run()
        except RuntimeError as error:
            results.append(error)
        with pytest.raises(OSError, match="main thread only"):
            handle.signal_watcher_create(signal.SIGUSR1, fail).start()

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert [str(error) for error in results] == ["from a callback"]
    assert signal.getsignal(signal.SIGINT) is before


# The turn


def test_the_phases_of_a_turn_come_in_order(handle: flux.Flux, pipe: tuple[int, int]) -> None:
    calls: Calls = []
    os.write(pipe[1], b"x")
    handle.idle_watcher_create(record(calls, "idle", handle.reactor_stop)).start()
    fd_watcher = handle.fd_watcher_create(pipe[0], fail, FLUX_POLLIN)
    fd_watcher.callback = record(calls, "fd", fd_watcher.stop)
    fd_watcher.start()
    handle.timer_watcher_create(0, record(calls, "timer")).start()
    handle.check_watcher_create(record(calls, "check")).start()
    handle.prepare_watcher_create(record(calls, "prepare")).start()
    handle.reactor_run()
    assert calls == ["prepare", "check", "timer", "fd", "prepare", "check", "idle"]


def test_the_newest_of_a_phase_comes_first(handle: flux.Flux) -> None:
    calls: Calls = []
    for name in ("old", "new"):
        handle.prepare_watcher_create(record(calls, name)).start()
    handle.reactor_run(flags=FLUX_REACTOR_NOWAIT)
    assert calls == ["new", "old"]


def test_an_idle_watcher_without_callback_keeps_the_reactor_from_waiting(handle: flux.Flux) -> None:
    handle.timer_watcher_create(3600, fail).start()
    handle.idle_watcher_create(None).start()
    assert handle.reactor_run(flags=FLUX_REACTOR_ONCE) == 1


def test_with_nothing_to_wait_for_the_reactor_returns_at_once(handle: flux.Flux) -> None:
    for flags in (0, FLUX_REACTOR_NOWAIT, FLUX_REACTOR_ONCE, FLUX_REACTOR_NOWAIT | FLUX_REACTOR_ONCE):
        assert handle.reactor_run(flags=flags) == 0


def test_unknown_flags_are_refused(handle: flux.Flux) -> None:
    with pytest.raises(OSError, match="EINVAL"):
        handle.reactor_run(flags=4)


def test_the_result_counts_what_is_left_less_one(handle: flux.Flux) -> None:
    for expected in (0, 1, 2):
        handle.timer_watcher_create(3600, fail).start()
        assert handle.reactor_run(flags=FLUX_REACTOR_NOWAIT) == expected


def test_a_message_watcher_counts_for_two(handle: flux.Flux) -> None:
    with handle.msg_watcher_create(fail), handle.msg_watcher_create(fail):
        assert handle.reactor_run(flags=FLUX_REACTOR_NOWAIT) == 1
    assert handle.reactor_run() == 0


def test_an_unreferenced_watcher_calls_only_while_something_else_lasts(handle: flux.Flux) -> None:
    calls: Calls = []
    timer = handle.timer_watcher_create(0, record(calls, "unref"), repeat=SOON).unref().unref()
    timer.start()
    assert handle.reactor_run() == 0
    assert not calls

    def last(_handle: flux.Flux, watcher: TimerWatcher, *_: object) -> None:
        if len(calls) > 1:
            watcher.stop()

    handle.timer_watcher_create(0, last, repeat=SOON).start()
    assert handle.reactor_run() == 0
    assert len(calls) > 1
    timer.ref()
    assert handle.reactor_run(flags=FLUX_REACTOR_NOWAIT) == 0
    assert timer.is_active


def test_stop_lets_the_callbacks_that_are_due_run(handle: flux.Flux) -> None:
    calls: Calls = []
    handle.timer_watcher_create(0, record(calls, "first", handle.reactor_stop)).start()
    handle.timer_watcher_create(0, record(calls, "second")).start()
    handle.timer_watcher_create(3600, fail).start()
    assert handle.reactor_run() == 0
    assert calls == ["first", "second"]


def test_stop_error_makes_the_result_negative_and_the_last_word_counts(handle: flux.Flux) -> None:
    handle.timer_watcher_create(0, lambda *_: handle.reactor_stop_error()).start()
    assert handle.reactor_run() == -1
    handle.timer_watcher_create(0, lambda *_: handle.reactor_stop_error()).start()
    handle.timer_watcher_create(0, lambda *_: handle.reactor_stop()).start()
    assert handle.reactor_run() == 0


def test_stop_before_the_run_has_no_effect_on_it(handle: flux.Flux) -> None:
    calls: Calls = []
    handle.reactor_stop_error()
    handle.timer_watcher_create(0, record(calls, "ran")).start()
    assert handle.reactor_run() == 0
    assert calls == ["ran"]


def test_a_stop_ends_the_inner_run_and_the_outer_ones(handle: flux.Flux) -> None:
    calls: Calls = []

    def outer(*_: object) -> None:
        handle.timer_watcher_create(0, lambda *_: handle.reactor_stop()).start()
        calls.append(handle.reactor_run() >= 0)

    handle.timer_watcher_create(3600, fail).start()
    handle.timer_watcher_create(0, outer).start()
    assert handle.reactor_run() >= 0
    assert calls == [True]


def test_an_exception_of_a_callback_is_raised_by_the_run(handle: flux.Flux) -> None:
    timer = handle.timer_watcher_create(0, fail, repeat=3600).start()
    with pytest.raises(RuntimeError, match="from a callback"):
        handle.reactor_run()
    assert timer.is_active
    handle.raise_if_exception()


def test_of_two_exceptions_the_later_one_is_raised(handle: flux.Flux) -> None:
    def fail_later(*_: object) -> None:
        raise ValueError("later")

    handle.timer_watcher_create(0, fail).start()
    handle.timer_watcher_create(0, fail_later).start()
    with pytest.raises(ValueError, match="later"):
        handle.reactor_run()


def test_an_exception_stored_before_the_run_is_raised_by_it(handle: flux.Flux) -> None:
    assert handle.set_exception(ValueError("stored")) is None
    with pytest.raises(ValueError, match="stored"):
        handle.reactor_run()


def test_a_system_exit_of_a_callback_leaves_at_once_and_loses_no_timer(handle: flux.Flux) -> None:
    calls: Calls = []

    def leave(*_: object) -> None:
        raise SystemExit(3)

    handle.timer_watcher_create(0, leave).start()
    handle.timer_watcher_create(0, record(calls, "second")).start()
    with pytest.raises(SystemExit):
        handle.reactor_run()
    assert not handle.reactor_running()
    assert handle.reactor_run() == 0
    assert calls == ["second"]


def test_reactor_running_is_true_in_callbacks_only(handle: flux.Flux) -> None:
    calls: Calls = []
    handle.timer_watcher_create(0, lambda *_: calls.append(flux.Flux.reactor_running())).start()
    assert not flux.Flux.reactor_running()
    handle.reactor_run()
    assert calls == [True]
    with handle.in_reactor():
        assert flux.Flux.reactor_running()
        flux.Flux.reactor_enter()
        flux.Flux.reactor_exit()
        assert flux.Flux.reactor_running()
    assert not flux.Flux.reactor_running()


def test_a_destroyed_watcher_does_nothing_more(handle: flux.Flux) -> None:
    for watcher in (handle.timer_watcher_create(0, fail), handle.msg_watcher_create(fail)):
        watcher.start()
        watcher.destroy()
        watcher.destroy()
        watcher.start()
        watcher.stop()
        assert not watcher.is_active
    assert handle.reactor_run() == 0


def test_another_thread_may_post_to_a_reactor_that_waits() -> None:
    reactor, calls = Reactor(), list[str]()
    reactor.hold()

    def callback() -> None:
        calls.append("posted")
        reactor.release()

    poster = threading.Thread(target=reactor.post, args=(callback,))
    reactor.call_at(reactor.now(), poster.start)
    assert reactor.run() == 0
    poster.join()
    reactor.close()
    assert calls == ["posted"]
