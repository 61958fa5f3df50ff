"""The transports that need no broker's address."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Any

import pytest

import flux
from flux.connector import connect
from flux.constants import (
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_O_NONBLOCK,
    FLUX_POLLIN,
    FLUX_POLLOUT,
    FLUX_ROLE_OWNER,
    FLUX_ROLE_USER,
)
from flux.packet import Decoder

Calls = list[Any]


# loop://


def test_what_is_sent_into_a_loop_comes_back_from_its_sender() -> None:
    with flux.Flux("loop://") as handle:
        handle.event_send("a", {"x": 1})
        handle.send(handle.event_create("b"))
        first, second = handle.recv(), handle.recv()
    assert (first.type, first.topic, first.payload) == (FLUX_MSGTYPE_EVENT, "a", {"x": 1})
    assert (first.userid, first.rolemask) == (os.getuid(), FLUX_ROLE_OWNER)
    assert second.topic == "b"


def test_credentials_that_a_message_names_stay() -> None:
    with flux.Flux("loop://") as handle:
        message = handle.event_create("a")
        message.userid, message.rolemask = 17, FLUX_ROLE_USER
        handle.send(message)
        received = handle.recv()
    assert (received.userid, received.rolemask) == (17, FLUX_ROLE_USER)


@pytest.mark.parametrize("flags", [0, FLUX_O_NONBLOCK])
def test_an_empty_loop_has_nothing_to_wait_for(flags: int) -> None:
    with flux.Flux("loop://") as handle:
        for _ in range(2):
            with pytest.raises(BlockingIOError, match="EAGAIN"):
                handle.recv(flags=flags)
            handle.event_send("a")
            handle.recv(flags=flags)


def test_a_loop_is_rank_0_of_1() -> None:
    with flux.Flux("loop://") as handle:
        assert (handle.get_rank(), handle.attr_get("size")) == (0, "1")


def test_a_request_into_a_loop_is_not_answered_by_itself() -> None:
    with flux.Flux("loop://") as handle:
        with pytest.raises(TimeoutError):
            handle.rpc("s.m").wait_for(0.01)
        with pytest.raises(BlockingIOError):
            handle.rpc("s.m").get()
        assert handle.recv().topic == "s.m"


def test_a_loop_serves_its_own_requests_from_the_reactor() -> None:
    calls: Calls = []

    def serve(handle: flux.Flux, watcher: Any, message: flux.message.Message, _args: object) -> None:
        handle.respond(message, message.payload + 1)
        watcher.stop()

    with flux.Flux("loop://") as handle:
        handle.msg_watcher_create(serve, FLUX_MSGTYPE_REQUEST, "s.m").start()
        handle.rpc("s.m", 1).then(lambda rpc: calls.append(rpc.get()))
        assert handle.reactor_run() == 0
    assert calls == [2]


def test_a_loop_says_what_it_is_ready_for() -> None:
    with flux.Flux("loop://") as handle:
        assert handle.pollevents() == FLUX_POLLOUT
        handle.event_send("a")
        assert handle.pollevents() == FLUX_POLLOUT | FLUX_POLLIN
        handle.recv()
        assert handle.pollevents() == FLUX_POLLOUT


def test_a_loop_takes_more_than_any_socket_would() -> None:
    with flux.Flux("loop://") as handle:
        for number in range(100):
            handle.event_send("a", [number, "x" * 50_000])
        assert [handle.recv().payload[0] for _ in range(100)] == list(range(100))


def test_a_closed_loop_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with flux.Flux("loop://") as handle:
            handle.event_send("a")
            handle.reconnect()
        with pytest.raises(OSError, match="handle is closed"):
            handle.recv()
    assert os.listdir("/proc/self/fd") == before


def test_a_loop_is_no_socket_for_those_who_want_one() -> None:
    with pytest.raises(OSError, match="no socket") as raised:
        connect("loop://")
    assert raised.value.errno == errno.EINVAL


# fd://


def test_a_connected_socket_is_taken_over_and_closed_with_the_handle() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"\0")
        with flux.Flux(f"fd://{ours.detach()}") as handle:
            handle.event_send("a")
            (event,) = Decoder().feed(theirs.recv(1 << 16))
            assert event.topic == "a"
            with pytest.raises(OSError, match="Operation not supported"):
                handle.reconnect()
        assert theirs.recv(1) == b""


def test_a_server_that_refuses_a_socket_says_why() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(bytes([errno.EPERM]))
        with pytest.raises(PermissionError, match="Unable to connect to Flux: Operation not permitted"):
            flux.Flux(f"fd://{ours.detach()}")
        assert theirs.recv(1) == b""


@pytest.mark.parametrize(
    ("path", "errnum", "text"),
    [
        ("x", errno.EINVAL, "error parsing file descriptor"),
        ("", errno.EINVAL, "error parsing file descriptor"),
        ("-1", errno.EINVAL, "error parsing file descriptor"),
        ("²", errno.EINVAL, "error parsing file descriptor"),
        ("999999", errno.EBADF, "Bad file descriptor"),
        ("99999999999999999999", errno.EBADF, "Bad file descriptor"),
    ],
)
def test_what_is_no_descriptor_is_refused(path: str, errnum: int, text: str) -> None:
    with pytest.raises(OSError, match=re.escape(f"Unable to connect to Flux: {text}")) as raised:
        flux.Flux(f"fd://{path}")
    assert raised.value.errno == errnum


def test_a_descriptor_that_is_no_socket_is_left_alone() -> None:
    ends = os.pipe()
    with pytest.raises(OSError, match="Socket operation on non-socket"):
        flux.Flux(f"fd://{ends[0]}")
    for end in ends:
        os.close(end)
