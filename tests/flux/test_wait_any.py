"""Several futures, of which the first to have a result ends the wait."""

from __future__ import annotations

import errno
import gc
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from flux.future import FutureExt, WaitAllFuture, WaitAnyFuture

if TYPE_CHECKING:
    import flux
    from tests.flux.conftest import Peer

Calls = list[Any]


def later(_future: FutureExt) -> None:
    """An init_cb that leaves the result to somebody else."""


def after(future: FutureExt, seconds: float, result: object) -> None:
    """An init_cb that has the result after a time."""
    handle = future.get_flux()
    assert handle is not None
    handle.timer_watcher_create(seconds, lambda *_: future.fulfill(result)).start()


def ready(together: WaitAnyFuture) -> list[bool]:
    return [child.is_ready() for child in together.children]


def test_the_first_answer_ends_the_wait_and_the_others_may_be_had_later(handle: flux.Flux, peer: Peer) -> None:
    together = WaitAnyFuture([handle.rpc("s.a"), handle.rpc("s.b")])
    together.push(handle.rpc("s.c"), "last")
    asked = [peer.read() for _ in range(3)]
    assert not together.is_ready()
    peer.answer(asked[1], b"1\0")
    assert together.get() is None
    assert ready(together) == [False, True, False]
    assert together.children[1].get() == 1
    peer.answer(asked[2], b"2\0")
    assert together.children[2].get() == 2
    assert together.get() is together.get() is None


def test_the_first_answer_calls_back_and_the_reactor_need_not_wait_for_the_others(
    handle: flux.Flux, peer: Peer
) -> None:
    calls: Calls = []
    WaitAnyFuture([handle.rpc("s.a"), handle.rpc("s.b")]).then(lambda future: calls.append(ready(future)))
    gc.collect()
    peer.read()
    peer.answer(peer.read(), b"2\0")
    assert handle.reactor_run() == 0
    assert calls == [[False, True]]


@pytest.mark.parametrize("does_reset", [False, True])
def test_after_the_first_the_others_call_nobody(handle: flux.Flux, peer: Peer, does_reset: bool) -> None:
    calls: Calls = []

    def done(future: WaitAnyFuture) -> None:
        calls.append(ready(future))
        if does_reset:
            future.reset()

    children = [
        handle.rpc("s.a").then(lambda _: calls.append("a")),
        handle.rpc("s.b").then(lambda _: calls.append("b")),
    ]
    WaitAnyFuture(children).then(done)
    asked = [peer.read(), peer.read()]
    peer.answer(asked[0])
    handle.timer_watcher_create(0.01, lambda *_: peer.answer(asked[1])).start()
    assert handle.reactor_run() == 0
    assert calls == ["a", [True, False], "b"]


def test_a_child_that_is_ready_is_enough(handle: flux.Flux, peer: Peer) -> None:
    first = handle.rpc("s.a")
    peer.answer(peer.read())
    first.get()
    together = WaitAnyFuture([handle.rpc("s.b"), first])
    assert together.wait_for(0) is together
    assert ready(together) == [False, True]


def test_an_error_is_a_result_and_is_the_childs_own(live: flux.Flux) -> None:
    bad = live.rpc("zork.m")
    together = WaitAnyFuture([FutureExt(later), bad])
    together.set_flux(live)
    assert together.get() is None
    with pytest.raises(OSError, match="No service matching zork"):
        bad.get()


def test_children_that_take_too_long_may_be_waited_for_again(handle: flux.Flux, peer: Peer) -> None:
    together = WaitAnyFuture([handle.rpc("s.m"), handle.rpc("s.m")])
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(TimeoutError, match="ETIMEDOUT: Connection timed out"):
            together.wait_for(0.02)
    assert 0.04 <= time.monotonic() - started < 1
    peer.answer(peer.read())
    assert together.wait_for(5).is_ready()


def test_a_time_limit_fulfils_it(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    WaitAnyFuture([handle.rpc("s.m")]).then(lambda future: calls.append(future.error_string()), timeout=0.01)
    assert handle.reactor_run() == 0
    assert calls == ["Connection timed out"]


def test_children_whose_work_is_ones_own_begin_when_they_are_waited_for(live: flux.Flux) -> None:
    def children() -> list[FutureExt]:
        return [FutureExt(after, 30.0, "slow", flux_handle=live), FutureExt(after, 0.001, "fast", flux_handle=live)]

    together = WaitAnyFuture(children())
    assert together.wait_for(5).get() is None
    assert ready(together) == [False, True]
    calls: Calls = []

    def done(future: WaitAnyFuture) -> None:
        calls.append(future.children[1].get())
        live.reactor_stop()

    WaitAnyFuture(children()).then(done)
    live.reactor_run()
    assert calls == ["fast"]


def test_they_nest(handle: flux.Flux, peer: Peer) -> None:
    pairs = [WaitAnyFuture([handle.rpc("s.m"), handle.rpc("s.m")]) for _ in range(2)]
    asked = [peer.read() for _ in range(4)]
    peer.answer(asked[0])
    any_of_any = WaitAnyFuture([WaitAnyFuture([handle.rpc("s.n")]), pairs[0]])
    assert any_of_any.wait_for(5).is_ready()
    peer.answer(asked[3])
    assert WaitAllFuture(pairs).wait_for(5).is_ready()
    assert [ready(pair) for pair in pairs] == [[True, False], [False, True]]


def test_without_children_no_result_can_come(handle: flux.Flux) -> None:
    with pytest.raises(OSError, match="Resource deadlock avoided") as raised:
        WaitAnyFuture().get()
    assert raised.value.errno == errno.EDEADLK
    together = WaitAnyFuture()
    together.set_flux(handle)
    together.then(later)
    assert handle.reactor_run() == 0


def test_the_loss_of_the_connection_ends_the_wait(handle: flux.Flux, peer: Peer) -> None:
    together = WaitAnyFuture([handle.rpc("s.m"), handle.rpc("s.m")])
    peer.read()
    peer.hang_up()
    assert together.get() is None
    with pytest.raises(ConnectionResetError):
        together.children[0].get()


def test_nothing_is_left_of_one_that_nobody_waits_for_any_more(handle: flux.Flux, peer: Peer) -> None:
    together = WaitAnyFuture([handle.rpc("s.m"), handle.rpc("s.m")])
    with pytest.raises(TimeoutError):
        together.wait_for(0)
    gone = weakref.ref(together)
    del together
    gc.collect()
    assert gone() is None
    assert handle.matchtag_avail() == 1021
    for _ in range(2):
        peer.answer(peer.read())
    answered = handle.rpc("s.last")
    peer.answer(peer.read())
    answered.get()
    assert handle.matchtag_avail() == 1023
