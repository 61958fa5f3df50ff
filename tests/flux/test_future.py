from __future__ import annotations

import errno
import gc
import json
import os
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_NODEID_UPSTREAM,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
)
from flux.future import Future

if TYPE_CHECKING:
    import flux
    from flux.rpc import RPC
    from tests.flux.conftest import Peer

Calls = list[Any]


def asked(handle: flux.Flux, peer: Peer, *answers: bytes | None, errnum: int = 0) -> RPC:
    """A request that the peer has answered already."""
    rpc = handle.rpc("s.m", {"a": 1})
    request = peer.read()
    for payload in answers:
        peer.answer(request, payload, errnum)
    return rpc


def stream(handle: flux.Flux, peer: Peer, *numbers: int) -> RPC:
    """A streaming request answered with these numbers and the end."""
    rpc = handle.rpc("s.m", flags=FLUX_RPC_STREAMING)
    request = peer.read()
    assert request.flags & FLUX_MSGFLAG_STREAMING
    for number in numbers:
        peer.answer(request, b"%d\0" % number)
    peer.answer(request, errnum=errno.ENODATA)
    return rpc


# Requests


def test_a_request_has_its_topic_payload_and_tag(handle: flux.Flux, peer: Peer) -> None:
    handle.rpc(b"s.m", {"ä": None}, nodeid=3)
    request = peer.read()
    assert (request.topic, request.payload) == ("s.m", '{"ä": null}\0'.encode())
    assert (request.aux1, request.aux2, request.routes) == (3, 1, [])


def test_a_request_without_response_is_ready_and_has_no_result(handle: flux.Flux, peer: Peer) -> None:
    rpc = handle.rpc("s.m", flags=FLUX_RPC_NORESPONSE | FLUX_RPC_STREAMING)
    request = peer.read()
    assert (request.aux2, request.flags & FLUX_MSGFLAG_NORESPONSE) == (0, FLUX_MSGFLAG_NORESPONSE)
    assert rpc.is_ready()
    with pytest.raises(OSError, match="EINVAL"):
        rpc.get()


def test_a_request_upstream_names_its_own_rank(handle: flux.Flux, peer: Peer) -> None:
    answer = threading.Thread(target=lambda: peer.answer(peer.read(), b'{"value": "5", "flags": 1}\0'))
    answer.start()
    handle.rpc("s.m", nodeid=FLUX_NODEID_UPSTREAM)
    answer.join()
    request = peer.read()
    assert (request.aux1, request.flags & FLUX_MSGFLAG_UPSTREAM) == (5, FLUX_MSGFLAG_UPSTREAM)


def test_a_wrong_request_is_refused_and_leaks_no_tag(handle: flux.Flux, peer: Peer) -> None:
    free = handle.matchtag_avail()
    with pytest.raises(OSError, match="EINVAL"):
        handle.rpc("s.m", flags=4)
    with pytest.raises(OverflowError):
        handle.rpc("s.m", nodeid=-1)
    with pytest.raises(OSError, match="Topic must not be None"):
        handle.rpc(None)  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(TypeError):
        handle.rpc("s.m", object())
    assert handle.matchtag_avail() == free
    assert peer.has_been_sent_nothing()


# Waiting


@pytest.mark.parametrize(
    ("payload", "result"),
    [(b'{"x": [1, 2]}\0', {"x": [1, 2]}), (b"[1]\0", [1]), (b"3\0", 3), (None, None), (b'{"x": 1}\0{}\0', {"x": 1})],
)
def test_get_returns_the_json_of_the_answer(handle: flux.Flux, peer: Peer, payload: bytes, result: object) -> None:
    rpc = asked(handle, peer, payload)
    assert rpc.get() == rpc.get() == result


def test_get_str_returns_the_text_up_to_the_first_nul(handle: flux.Flux, peer: Peer) -> None:
    assert asked(handle, peer, b"no json\0or so\0").get_str() == "no json"
    assert asked(handle, peer, None).get_str() is None


def test_an_answer_that_is_no_json_is_refused(handle: flux.Flux, peer: Peer) -> None:
    with pytest.raises(json.JSONDecodeError):
        asked(handle, peer, b"no json\0").get()
    with pytest.raises(OSError, match="EPROTO: Protocol error"):
        asked(handle, peer, b"raw").get()


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"what went wrong\0", "what went wrong"),
        (None, "No such file or directory"),
        (b"\0", "No such file or directory"),
    ],
)
def test_an_error_answer_is_raised_with_its_text(handle: flux.Flux, peer: Peer, payload: bytes, text: str) -> None:
    rpc = asked(handle, peer, payload, errnum=errno.ENOENT)
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as raised:
            rpc.get()
        assert raised.value.strerror == rpc.error_string() == text
    rpc.wait_for(0)


def test_is_ready_does_no_io(handle: flux.Flux, peer: Peer) -> None:
    rpc = asked(handle, peer, b"1\0")
    assert not rpc.is_ready()
    assert rpc.error_string() is None
    assert rpc.wait_for(5) is rpc
    assert rpc.is_ready()
    assert rpc.error_string() is None


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_waiting_ends_at_its_time_and_may_be_repeated(handle: flux.Flux, peer: Peer, timeout: float) -> None:
    rpc = handle.rpc("s.m")
    with pytest.raises(TimeoutError, match="ETIMEDOUT: Connection timed out"):
        rpc.wait_for(timeout)
    assert not rpc.is_ready()
    peer.answer(peer.read(), b"1\0")
    assert rpc.wait_for(0).get() == 1


def test_a_dribble_of_bytes_does_not_extend_the_wait(handle: flux.Flux, peer: Peer) -> None:
    rpc = handle.rpc("s.m")
    message = wire.encode(wire.event("e", b"x" * 200))
    done = threading.Event()

    def dribble() -> None:
        for at in range(len(message)):
            peer.send_bytes(message[at : at + 1])
            if done.wait(0.01):
                return

    dribbler = threading.Thread(target=dribble)
    dribbler.start()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        rpc.wait_for(0.05)
    assert time.monotonic() - started < 1
    done.set()
    dribbler.join()


def test_answers_in_another_order_find_their_futures(handle: flux.Flux, peer: Peer) -> None:
    rpcs = [handle.rpc("s.m", n) for n in range(3)]
    for request in reversed([peer.read() for _ in rpcs]):
        peer.answer(request, request.payload)
    assert [rpc.get() for rpc in rpcs] == [0, 1, 2]


def test_a_stream_is_read_result_by_result(handle: flux.Flux, peer: Peer) -> None:
    rpc = stream(handle, peer, 1, 2, 3)
    numbers = []
    while rpc.wait_for().error_string() is None:
        numbers.append(rpc.get())
        assert rpc.get() == numbers[-1]
        rpc.reset()
    assert numbers == [1, 2, 3]
    with pytest.raises(OSError, match="No data available"):
        rpc.get()
    rpc.reset()
    with pytest.raises(OSError, match="EDEADLOCK"):
        rpc.get()


def test_ctrl_c_ends_a_blocking_call(handle: flux.Flux, peer: Peer) -> None:
    rpc = handle.rpc("s.m")
    interrupt = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        rpc.get()
    interrupt.join()
    peer.answer(peer.read(), b"1\0")
    assert rpc.get() == 1


def test_the_exception_of_a_callback_comes_before_the_error_of_a_get(handle: flux.Flux, peer: Peer) -> None:
    rpc = asked(handle, peer, None, errnum=errno.ENOENT)
    handle.set_exception(ValueError("from a callback"))
    with pytest.raises(ValueError, match="from a callback"):
        rpc.get()
    with pytest.raises(FileNotFoundError):
        rpc.get()


# Calling back


def test_a_callback_gets_the_future_and_its_extras(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []

    def callback(future: Any, first: str, second: str = "default", *, third: str) -> None:
        calls.append((future, first, second, third))

    rpc = asked(handle, peer, b"1\0")
    assert rpc.then(callback, "one", third="three") is rpc
    assert handle.reactor_run() == 0
    assert calls == [(rpc, "one", "default", "three")]


def test_a_callback_on_a_result_that_is_there_waits_for_the_reactor(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    rpc = asked(handle, peer, b"1\0").wait_for()
    rpc.then(lambda future: calls.append(future.get()))
    assert not calls
    assert handle.reactor_run() == 0
    assert calls == [1]


def test_a_result_that_came_while_the_reactor_ran_is_kept_for_a_later_then(handle: flux.Flux, peer: Peer) -> None:
    early, late = asked(handle, peer, b"1\0"), asked(handle, peer, b"2\0")
    calls: Calls = []
    late.then(lambda future: calls.append(future.get()))
    handle.reactor_run()
    early.then(lambda future: calls.append(future.get()))
    handle.reactor_run()
    assert calls == [2, 1]


def test_a_future_that_nobody_holds_calls_back(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    asked(handle, peer, b"1\0").then(lambda future: calls.append(future.get()))
    gc.collect()
    handle.reactor_run()
    assert calls == [1]


def test_a_failed_request_calls_back_too(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    asked(handle, peer, None, errnum=errno.EPERM).then(lambda future: calls.append(future.error_string()))
    assert handle.reactor_run() == 0
    assert calls == ["Operation not permitted"]


def test_a_second_callback_is_refused_until_the_first_was_called(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    rpc = asked(handle, peer, b"1\0")
    with pytest.raises(ValueError, match="callback"):
        rpc.then(None)
    rpc.then(lambda future: future.then(lambda _: calls.append("second")))
    with pytest.raises(FileExistsError, match="then callback already exists for this future"):
        rpc.then(lambda _: None)
    handle.reactor_run()
    assert calls == ["second"]


def test_an_exception_of_a_callback_is_raised_by_the_run_and_drops_the_result(handle: flux.Flux, peer: Peer) -> None:
    def callback(_future: object) -> None:
        raise RuntimeError("from then")

    rpc = asked(handle, peer, b"1\0").then(callback)
    with pytest.raises(RuntimeError, match="from then"):
        handle.reactor_run()
    assert not rpc.is_ready()
    assert handle.reactor_run() == 0


def test_a_stopped_future_calls_nobody(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    rpc = asked(handle, peer, b"1\0").then(calls.append)
    rpc.stop()
    assert handle.reactor_run() == 0
    with asked(handle, peer, b"1\0").then(calls.append):
        pass
    assert handle.reactor_run() == 0
    assert not calls


def test_each_result_of_a_stream_calls_back(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []

    def callback(future: RPC) -> None:
        calls.append(future.error_string() or future.get())
        future.reset()

    stream(handle, peer, 1, 2, 3).then(callback)
    assert handle.reactor_run() == 0
    assert calls == [1, 2, 3, "No data available"]


def test_without_reset_each_result_of_a_stream_calls_back_with_the_first(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    stream(handle, peer, 1, 2, 3).then(lambda future: calls.append(future.get()))
    assert handle.reactor_run() == 0
    assert calls == [1, 1, 1, 1]


def test_results_that_came_before_then_call_back_each(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    rpc = stream(handle, peer, 1, 2)
    handle.rpc("s.last")
    last = peer.read()
    peer.answer(last)

    def callback(future: RPC) -> None:
        calls.append(future.error_string() or future.get())
        future.reset()

    rpc.wait_for()
    rpc.then(callback)
    assert handle.reactor_run() == 0
    assert calls == [1, 2, "No data available"]


def test_a_time_limit_fulfils_with_an_error(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    rpc = handle.rpc("s.m").then(lambda future: calls.append(future.error_string()), timeout=0.01)
    assert handle.reactor_run() == 0
    assert calls == ["Connection timed out"]
    with pytest.raises(TimeoutError):
        rpc.get()
    peer.answer(peer.read(), b"too late\0")
    assert asked(handle, peer, b"1\0").get() == 1
    assert rpc.error_string() == "Connection timed out"


def test_a_time_limit_that_was_kept_does_nothing(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    asked(handle, peer, b"1\0").then(lambda future: calls.append(future.get()), timeout=0.02)
    handle.timer_watcher_create(0.04, lambda *_: calls.append("later")).start()
    handle.reactor_run()
    assert calls == [1, "later"]


# Belonging


def test_a_future_of_a_future_shares_its_result(handle: flux.Flux, peer: Peer) -> None:
    rpc = asked(handle, peer, None, errnum=errno.ENOENT)
    other = Future(rpc)
    del rpc
    assert not other.is_ready()
    other.wait_for()
    with pytest.raises(FileNotFoundError):
        other.get()
    assert Future(asked(handle, peer, b"1\0")).get() is None


def test_a_future_knows_its_handle_and_its_reactor(handle: flux.Flux, peer: Peer) -> None:
    with handle.rpc("s.m") as rpc:
        assert rpc.get_flux() is handle
        assert rpc.get_reactor() is handle.get_reactor()


def test_a_tag_is_free_again_when_its_answer_came(handle: flux.Flux, peer: Peer) -> None:
    free = handle.matchtag_avail()
    rpc = handle.rpc("s.m")
    request = peer.read()
    assert handle.matchtag_avail() == free - 1
    del rpc
    assert handle.matchtag_avail() == free - 1
    peer.answer(request)
    asked(handle, peer, b"1\0").get()
    assert handle.matchtag_avail() == free


def test_a_future_keeps_its_handle_and_lets_it_go(peer: Peer) -> None:
    handle = peer.connect()
    reference = weakref.ref(handle)
    rpc = handle.rpc("s.m")
    del handle
    peer.answer(peer.read(), b"1\0")
    assert rpc.get() == 1
    del rpc
    assert reference() is None
    assert peer.is_hung_up_on()


def test_a_handle_with_an_unanswered_request_closes_with_its_last_reference(peer: Peer) -> None:
    handle = peer.connect()
    handle.get_reactor()
    handle.rpc("s.m")
    peer.read()
    del handle
    assert peer.is_hung_up_on()
