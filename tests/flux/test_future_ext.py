"""Futures whose result is work of one's own, and several futures as one."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux import packet as wire
from flux.future import Future, FutureExt, WaitAllFuture

if TYPE_CHECKING:
    from tests.flux.conftest import Peer

Calls = list[Any]


def later(_future: FutureExt) -> None:
    """An init_cb that leaves the result to somebody else."""


def ping(future: FutureExt, left: int, *, seq: int = 0) -> None:
    """An init_cb: so many pings, each started from the callback of the one before."""
    handle = future.get_flux()
    assert handle is not None

    def answered(rpc: flux.RPC) -> None:
        got = rpc.get()["seq"]
        if left == 1:
            future.fulfill(got)
        else:
            ping(future, left - 1, seq=got + 1)

    handle.rpc("broker.ping", {"seq": seq}).then(answered)


# FutureExt


def test_20_the_init_callback_is_called_when_the_result_is_first_asked_for() -> None:
    calls: Calls = []

    def init(future: FutureExt, *args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))
        future.fulfill("foo")

    future = FutureExt(init, 1, b=2)
    assert not calls
    assert not future.is_ready()
    assert future.get() == future.get() == "foo"
    assert calls == [((1,), {"b": 2})]


@pytest.mark.parametrize("value", ["foo", {"a": [1, None]}, None, 3, [], "ä☺"])
def test_20_any_json_value_is_a_result(value: object) -> None:
    future = FutureExt(later)
    future.fulfill(value)
    assert future.get() == value
    future.reset()
    future.fulfill()
    assert future.get() is None


def test_20_an_error_is_raised_with_its_text_or_with_the_errnos_own() -> None:
    future = FutureExt(later)
    future.fulfill_error(5, "msg")
    future.fulfill_error(errno.EPERM)
    future.fulfill_error()
    for errnum, text in ((5, "msg"), (errno.EPERM, "Operation not permitted"), (2, "No such file or directory")):
        with pytest.raises(OSError, match=text) as raised:
            future.get()
        assert (raised.value.errno, raised.value.strerror, future.error_string()) == (errnum, text, text)
        future.reset()


def test_results_queue_up() -> None:
    future = FutureExt(later)
    for number in range(3):
        future.fulfill(number)
    for number in range(3):
        assert future.get() == number
        future.reset()
    assert not future.is_ready()


def test_what_json_cannot_say_is_no_result() -> None:
    future = FutureExt(later)
    with pytest.raises(TypeError):
        future.fulfill(object())
    assert not future.is_ready()


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_06_waiting_for_nobody_ends_at_its_time_and_may_be_repeated(handle: flux.Flux, timeout: float) -> None:
    for future in (FutureExt(later), FutureExt(later, flux_handle=handle)):
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="ETIMEDOUT: Connection timed out"):
            future.wait_for(timeout)
        assert time.monotonic() - started >= timeout
        assert not future.is_ready()
        future.fulfill()
        assert future.wait_for(timeout) is future


def test_a_result_that_nothing_can_bring_is_a_deadlock(handle: flux.Flux) -> None:
    for future in (FutureExt(later), FutureExt(later, flux_handle=handle)):
        for _ in range(2):
            with pytest.raises(OSError, match="EDEADLOCK") as raised:
                future.get()
            assert raised.value.errno == errno.EDEADLK


def test_what_the_init_callback_raises_is_raised_by_get(handle: flux.Flux) -> None:
    def init(_future: FutureExt) -> None:
        raise RuntimeError("from init")

    for future in (FutureExt(init), FutureExt(init, flux_handle=handle)):
        with pytest.raises(RuntimeError, match="from init"):
            future.get()


def test_what_the_init_callback_raises_is_raised_by_the_run(handle: flux.Flux) -> None:
    def init(_future: FutureExt) -> None:
        raise RuntimeError("from init")

    calls: Calls = []
    future = FutureExt(init, flux_handle=handle).then(calls.append)
    with pytest.raises(RuntimeError, match="from init"):
        handle.reactor_run()
    assert handle.reactor_run() == 0
    assert not calls
    assert not future.is_ready()


def test_21_a_chain_of_requests_is_served_within_a_blocking_get(live: flux.Flux) -> None:
    assert FutureExt(ping, 5, flux_handle=live).get() == 4
    assert FutureExt(ping, 5, flux_handle=live).wait_for(20).get() == 4


def test_21_a_chain_of_requests_is_served_by_the_reactor(live: flux.Flux) -> None:
    calls: Calls = []

    def done(future: FutureExt, first: str, *, b: str) -> None:
        calls.append((future.get(), first, b))

    FutureExt(ping, 5, flux_handle=live).then(done, "foo", b="bar")
    gc.collect()
    assert live.reactor_run() == 0
    assert calls == [(4, "foo", "bar")]


def test_a_chain_that_takes_too_long_may_be_waited_for_again(handle: flux.Flux, peer: Peer) -> None:
    future = FutureExt(ping, 2, flux_handle=handle)
    with pytest.raises(TimeoutError):
        future.wait_for(0.01)
    peer.answer(peer.read(), b'{"seq": 0}\0')
    with pytest.raises(TimeoutError):
        future.wait_for(0.01)
    peer.answer(peer.read(), b'{"seq": 7}\0')
    assert future.get() == 7


def test_timers_of_the_init_callback_run_within_a_blocking_get(handle: flux.Flux) -> None:
    def init(future: FutureExt) -> None:
        handle.timer_watcher_create(0.001, lambda *_: future.fulfill("timer")).start()

    assert FutureExt(init, flux_handle=handle).get() == "timer"


def test_nothing_that_was_set_up_before_runs_within_a_blocking_get(live: flux.Flux) -> None:
    calls: Calls = []

    def event(*_: object) -> None:
        calls.append("event")
        live.reactor_stop()

    live.event_subscribe("noise")
    live.rpc("broker.ping", {}).then(lambda _: calls.append("future"))
    live.event_send("noise")
    with (
        live.timer_watcher_create(0, lambda *_: calls.append("timer")),
        live.msg_watcher_create(event),
    ):
        assert FutureExt(ping, 5, flux_handle=live).get() == 4
        assert not calls
        live.reactor_run()
    assert set(calls) == {"future", "timer", "event"}


def test_an_exception_of_a_callback_in_the_chain_is_raised_by_get(live: flux.Flux) -> None:
    def fail(_rpc: flux.RPC) -> None:
        raise RuntimeError("from the chain")

    future = FutureExt(lambda _: live.rpc("broker.ping", {}).then(fail), flux_handle=live)
    with pytest.raises(RuntimeError, match="from the chain"):
        future.get()


def test_a_blocking_get_of_a_chain_works_inside_a_callback(live: flux.Flux) -> None:
    calls: Calls = []
    live.timer_watcher_create(0, lambda *_: calls.append(FutureExt(ping, 3, flux_handle=live).get())).start()
    assert live.reactor_run() == 0
    assert calls == [2]


def test_the_loss_of_the_connection_ends_a_blocking_get_of_a_chain(handle: flux.Flux, peer: Peer) -> None:
    future = FutureExt(ping, 2, flux_handle=handle)

    def hear_and_hang_up() -> None:
        peer.read()
        peer.hang_up()

    hang_up = threading.Thread(target=hear_and_hang_up)
    hang_up.start()
    with pytest.raises(ConnectionResetError):
        future.get()
    hang_up.join()


def test_ctrl_c_ends_a_blocking_get_of_a_chain(handle: flux.Flux, peer: Peer) -> None:
    future = FutureExt(ping, 1, flux_handle=handle)

    def hear_and_interrupt() -> None:
        peer.read()
        os.kill(os.getpid(), signal.SIGINT)

    interrupt = threading.Thread(target=hear_and_interrupt)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        future.get()
    interrupt.join()


def test_a_future_reset_in_its_callback_calls_again(handle: flux.Flux) -> None:
    calls: Calls = []

    def init(future: FutureExt) -> None:
        for number in range(2):
            future.fulfill(number)
        handle.timer_watcher_create(0.01, lambda *_: future.fulfill("last")).start()

    def callback(future: FutureExt) -> None:
        calls.append(future.get())
        future.reset()

    FutureExt(init, flux_handle=handle).then(callback)
    assert handle.reactor_run() == 0
    assert calls == [0, 1, "last"]


def test_a_future_not_reset_calls_for_what_is_there_and_no_more(handle: flux.Flux) -> None:
    calls: Calls = []
    future = FutureExt(later, flux_handle=handle).then(lambda future: calls.append(future.get()))
    future.fulfill(1)
    assert handle.reactor_run() == 0
    future.fulfill(2)
    assert handle.reactor_run() == 0
    assert calls == [1]


def test_a_future_that_nothing_fulfils_does_not_keep_the_reactor(handle: flux.Flux) -> None:
    calls: Calls = []
    future = FutureExt(later, flux_handle=handle).then(calls.append)
    assert handle.reactor_run() == 0
    future.fulfill()
    assert handle.reactor_run() == 0
    assert calls == [future]


def test_a_time_limit_fulfils_it(handle: flux.Flux) -> None:
    calls: Calls = []
    FutureExt(later, flux_handle=handle).then(lambda future: calls.append(future.error_string()), timeout=0.01)
    assert handle.reactor_run() == 0
    assert calls == ["Connection timed out"]


def test_a_time_limit_counts_anew_after_each_reset(handle: flux.Flux) -> None:
    calls: Calls = []

    def callback(future: FutureExt) -> None:
        calls.append(future.error_string() or future.get())
        future.reset()

    future = FutureExt(later, flux_handle=handle)
    future.fulfill(1)
    future.then(callback, timeout=0.01)
    assert handle.reactor_run() == 0
    assert calls == [1, "Connection timed out"]


def test_without_a_handle_there_is_no_callback_until_one_is_set(handle: flux.Flux) -> None:
    future = FutureExt(lambda future: future.fulfill(1))
    assert future.get_flux() is None
    for call in (lambda: future.then(later), future.get_reactor):
        with pytest.raises(OSError, match="EINVAL"):
            call()
    future.set_flux(handle)
    assert future.get_flux() is handle
    assert future.get_reactor() is handle.get_reactor()
    calls: Calls = []
    future.then(lambda future: calls.append(future.get()))
    assert handle.reactor_run() == 0
    assert calls == [1]


def test_a_future_of_a_future_begins_its_work(live: flux.Flux) -> None:
    assert Future(FutureExt(ping, 2, flux_handle=live)).get() is None
    calls: Calls = []
    Future(FutureExt(ping, 2, flux_handle=live)).then(calls.append)
    assert live.reactor_run() == 0
    assert len(calls) == 1


def test_a_finished_future_leaves_nothing_behind(peer: Peer) -> None:
    handle = peer.connect()
    reference = weakref.ref(handle)
    future = FutureExt(ping, 1, flux_handle=handle)
    with pytest.raises(TimeoutError):
        future.wait_for(0)
    peer.answer(peer.read(), b'{"seq": 1}\0')
    assert future.get() == 1
    del handle, future
    gc.collect()
    assert reference() is None
    assert peer.is_hung_up_on()


def test_an_unfinished_future_leaves_nothing_behind(peer: Peer) -> None:
    handle = peer.connect()
    future = FutureExt(ping, 1, flux_handle=handle)
    with pytest.raises(TimeoutError):
        future.wait_for(0)
    peer.read()
    del handle, future
    gc.collect()
    assert peer.is_hung_up_on()


def test_an_interrupted_future_is_gone_with_its_answer(handle: flux.Flux, peer: Peer) -> None:
    def interrupt(future: FutureExt) -> None:
        ping(future, 1)
        os.kill(os.getpid(), signal.SIGINT)

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            FutureExt(interrupt, flux_handle=handle).get()
        peer.answer(peer.read(), b'{"seq": 0}\0')
    peer.answer(wire.request("end", None, matchtag=0))
    handle.recv()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


# Errors and handles of requests


def test_a_request_given_up_with_an_error_ignores_its_answer(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    rpc = handle.rpc("s.m").then(lambda future: calls.append(future.error_string()))
    rpc.fulfill_error(errno.ECANCELED, "not needed")
    peer.answer(peer.read(), b"1\0")
    assert handle.reactor_run() == 0
    assert calls == ["not needed"]
    with pytest.raises(OSError, match="not needed"):
        rpc.get()


def test_a_request_stays_with_its_connection(handle: flux.Flux, live: flux.Flux) -> None:
    rpc = handle.rpc("s.m")
    rpc.set_flux(handle)
    with pytest.raises(OSError, match="EINVAL"):
        rpc.set_flux(live)
    assert rpc.get_flux() is handle


# WaitAllFuture


def pings(handle: flux.Flux, count: int = 3) -> list[flux.RPC]:
    return [handle.rpc("broker.ping", {"seq": number}) for number in range(count)]


def test_all_children_are_waited_for_whether_given_or_pushed(live: flux.Flux) -> None:
    children = pings(live)
    together = WaitAllFuture(children[:2])
    together.push(children[2], "last")
    assert together.children == children
    assert not together.is_ready()
    assert together.get() is None
    assert together.is_ready()
    assert [child.get()["seq"] for child in children if child.is_ready()] == [0, 1, 2]


def test_all_children_are_waited_for_by_the_reactor(live: flux.Flux) -> None:
    calls: Calls = []

    def done(future: WaitAllFuture) -> None:
        calls.append([child.is_ready() for child in future.children])

    WaitAllFuture([*pings(live), FutureExt(ping, 3, flux_handle=live)]).then(done)
    gc.collect()
    assert live.reactor_run() == 0
    assert calls == [[True] * 4]


def test_children_may_have_callbacks_of_their_own(live: flux.Flux) -> None:
    calls: Calls = []
    children = [child.then(lambda future: calls.append(future.get()["seq"])) for child in pings(live)]
    WaitAllFuture(children).then(lambda _: calls.append("all"))
    live.reactor_run()
    assert calls == [0, 1, 2, "all"]


def test_no_children_are_ready_when_asked_for(handle: flux.Flux) -> None:
    for together in (WaitAllFuture(), WaitAllFuture([])):
        assert not together.is_ready()
        assert together.get() is None
    together = WaitAllFuture()
    together.set_flux(handle)
    calls: Calls = []
    together.then(calls.append)
    assert handle.reactor_run() == 0
    assert calls == [together]


def test_the_error_of_a_child_is_its_errno_with_the_errnos_own_text(live: flux.Flux) -> None:
    good, bad = live.rpc("broker.ping", {}), live.rpc("zork.m")
    together = WaitAllFuture([good, bad])
    with pytest.raises(OSError, match="Function not implemented") as raised:
        together.get()
    assert raised.value.errno == errno.ENOSYS
    assert good.is_ready()


def test_children_that_take_too_long_may_be_waited_for_again(handle: flux.Flux, peer: Peer) -> None:
    together = WaitAllFuture([handle.rpc("s.m"), handle.rpc("s.m")])
    peer.answer(peer.read())
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        together.wait_for(0.02)
    assert 0.02 <= time.monotonic() - started < 1
    peer.answer(peer.read())
    assert together.wait_for(5).is_ready()


def test_a_name_is_given_once(handle: flux.Flux) -> None:
    together = WaitAllFuture([FutureExt(later)])
    with pytest.raises(FileExistsError):
        together.push(FutureExt(later), "0")
    together.push(FutureExt(later), "a")
    with pytest.raises(FileExistsError):
        together.push(FutureExt(later), "a")
    together.push(FutureExt(later))
    assert len(together.children) == 3


def test_children_of_children_are_waited_for(live: flux.Flux) -> None:
    calls: Calls = []
    assert WaitAllFuture([WaitAllFuture(pings(live)), *pings(live)]).get() is None
    WaitAllFuture([WaitAllFuture(pings(live)), *pings(live)]).then(calls.append)
    assert live.reactor_run() == 0
    assert len(calls) == 1
