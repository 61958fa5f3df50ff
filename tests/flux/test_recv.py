from __future__ import annotations

import errno
import os
import select
import threading
from typing import TYPE_CHECKING

import pytest

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_O_NONBLOCK,
    FLUX_O_TEST_NOSUB,
    FLUX_POLLERR,
    FLUX_POLLIN,
    FLUX_POLLOUT,
    FLUX_REACTOR_NOWAIT,
    FLUX_RQ_HEAD,
    FLUX_RQ_TAIL,
)
from flux.message import Message
from flux.packet import Packet

if TYPE_CHECKING:
    import flux
    from tests.flux.conftest import Peer


def test_messages_come_in_the_order_they_arrived(handle: flux.Flux, peer: Peer) -> None:
    peer.send(*(wire.event(f"e.{n}") for n in range(3)))
    assert [handle.recv().topic for _ in range(3)] == ["e.0", "e.1", "e.2"]


def test_a_filter_leaves_the_others_in_their_order(handle: flux.Flux, peer: Peer) -> None:
    peer.send(
        wire.event("e.1"),
        wire.request("s.m", None, matchtag=5),
        wire.event("x.2"),
        Packet(2, aux2=6, routes=["far"], topic="r"),
        Packet(2, aux2=6, routes=[], topic="r"),
    )
    assert handle.recv(match_tag=6, type_mask=FLUX_MSGTYPE_RESPONSE).routes == []
    assert handle.recv(type_mask=FLUX_MSGTYPE_REQUEST).topic == "s.m"
    assert handle.event_recv("x.*").topic == "x.2"
    assert handle.event_recv(b"e.1").topic == "e.1"
    assert handle.recv().routes == ["far"]


def test_what_came_before_and_between_answers_is_kept_in_order(handle: flux.Flux, peer: Peer) -> None:
    for name in ("a", "b"):
        rpc = handle.rpc("s.m")
        peer.send(wire.event(name), wire.response_to(peer.read()))
        rpc.get()
    peer.send(wire.event("c"))
    assert [handle.event_recv().topic for _ in range(3)] == ["a", "b", "c"]


def test_without_waiting_recv_takes_what_is_there(handle: flux.Flux, peer: Peer) -> None:
    with pytest.raises(BlockingIOError, match="EAGAIN"):
        handle.recv(flags=FLUX_O_NONBLOCK)
    peer.send(wire.event("e"))
    assert handle.recv(flags=FLUX_O_NONBLOCK).topic == "e"


def test_a_handle_may_be_opened_not_to_wait(peer: Peer) -> None:
    with peer.connect(FLUX_O_NONBLOCK) as handle:
        assert handle.flags_get() == FLUX_O_NONBLOCK
        with pytest.raises(BlockingIOError):
            handle.recv()
        while handle.pollevents() & FLUX_POLLOUT:
            handle.event_send("e", "x" * 10_000)
        with pytest.raises(BlockingIOError):
            handle.event_send("e")


def test_unknown_flags_are_refused(handle: flux.Flux) -> None:
    for call in (handle.recv, lambda flags: handle.send(Message(), flags=flags)):
        with pytest.raises(OSError, match="EINVAL"):
            call(flags=1)
    with pytest.raises(OSError, match="EINVAL"):
        handle.requeue(Message(), 0)


def test_a_message_is_put_back_before_or_behind_the_others(handle: flux.Flux, peer: Peer) -> None:
    peer.send(wire.event("e.1"), wire.event("e.2"), wire.event("e.3"))
    first = handle.recv()
    handle.requeue(first, FLUX_RQ_HEAD)
    assert handle.recv().topic == "e.1"
    handle.requeue(first, FLUX_RQ_TAIL)
    assert [handle.recv().topic for _ in range(3)] == ["e.2", "e.3", "e.1"]


def test_a_message_put_back_is_still_there_for_the_reactor(handle: flux.Flux, peer: Peer) -> None:
    peer.send(wire.event("e"))
    event = handle.recv()
    event.rolemask = 1
    handle.requeue(event, FLUX_RQ_TAIL)
    topics: list[str] = []
    with handle.msg_watcher_create(lambda _h, _w, message, _a: topics.append(message.topic)):
        handle.reactor_run(flags=FLUX_REACTOR_NOWAIT)
    assert topics == ["e"]


def test_a_request_is_answered_with_all_that_routes_it_back(handle: flux.Flux, peer: Peer) -> None:
    asked = Packet(1, 0x80, routes=["b", "a"], topic="s.m", aux2=7)
    peer.send(asked)
    request = handle.recv()
    assert handle.respond(request, {"ok": True}) == 0
    assert handle.respond_error(request, errno.ENOENT, "no such thing") == 0
    assert handle.respond_error(request, 0, None) == 0
    answers = [peer.read() for _ in range(3)]
    assert all((answer.type, answer.routes, answer.aux2) == (2, ["b", "a"], 7) for answer in answers)
    assert [(answer.aux1, answer.payload) for answer in answers] == [
        (0, b'{"ok": true}\0'),
        (errno.ENOENT, b"no such thing\0"),
        (errno.EINVAL, None),
    ]


def test_a_request_that_wants_no_answer_gets_none(handle: flux.Flux, peer: Peer) -> None:
    peer.send(Packet(1, FLUX_MSGFLAG_NORESPONSE, routes=["a"], topic="s.m"))
    request = handle.recv()
    assert (handle.respond(request), handle.respond_error(request, 1, "no")) == (0, 0)
    assert peer.has_been_sent_nothing()


def test_what_is_no_message_is_refused(handle: flux.Flux) -> None:
    for call in (handle.respond, handle.send):
        with pytest.raises(OSError, match="EINVAL"):
            call(None)  # type: ignore[arg-type]  # the refusal is the point
        with pytest.raises(TypeError, match="want a Message"):
            call("text")  # type: ignore[arg-type]  # the refusal is the point


def test_a_handle_that_sends_reads_so_that_two_full_pipes_do_not_lock(handle: flux.Flux, peer: Peer) -> None:
    """The far end writes 4 MB before it reads anything, and so do we."""
    piece = "x" * 65536

    def talk_then_listen() -> None:
        for _ in range(64):
            peer.send(wire.event("theirs", piece.encode()))
        assert all(peer.read().topic == "ours" for _ in range(64))

    far_end = threading.Thread(target=talk_then_listen)
    far_end.start()
    for _ in range(64):
        handle.event_send("ours", piece)
    far_end.join()
    assert all(handle.event_recv().topic == "theirs" for _ in range(64))


def test_pollevents_tells_what_needs_no_wait(handle: flux.Flux, peer: Peer) -> None:
    assert handle.pollevents() == FLUX_POLLOUT
    peer.send(wire.event("e.1"), wire.event("e.2"))
    assert select.select([handle.pollfd()], [], [], 10)[0]
    assert handle.pollevents() == FLUX_POLLIN | FLUX_POLLOUT
    handle.recv()
    assert handle.pollevents() == FLUX_POLLIN | FLUX_POLLOUT
    handle.recv()
    assert handle.pollevents() == FLUX_POLLOUT
    peer.hang_up()
    assert handle.pollevents() & FLUX_POLLERR


def test_a_handle_opened_for_tests_subscribes_to_nothing(peer: Peer) -> None:
    with peer.connect(FLUX_O_TEST_NOSUB) as handle:
        assert handle.event_subscribe("a") == handle.event_unsubscribe("b") == 0
        assert peer.has_been_sent_nothing()


def test_a_log_text_is_one_record_a_line(handle: flux.Flux, peer: Peer) -> None:
    answer = threading.Thread(target=lambda: peer.answer(peer.read(), b'{"value": "3", "flags": 1}\0'))
    answer.start()
    handle.log(6, "one: 100%s\r\ntwo ü\n")
    answer.join()
    handle.log(0, b"three")
    records = [peer.read() for _ in range(3)]
    assert all((record.topic, record.aux2, record.flags & 0x04) == ("log.append", 0, 0) for record in records)
    headers, texts = zip(*((record.payload or b"").decode().split(" - - ") for record in records), strict=True)
    assert texts == ("one: 100%s", "two ü", "three")
    assert [header.split(" ")[0] for header in headers] == ["<48>1", "<48>1", "<0>1"]
    assert [header.split(" ")[2] for header in headers] == ["3"] * 3
    assert headers[0].endswith(f" {os.getpid()}")


@pytest.mark.parametrize(("level", "text"), [("6", "text"), (6, None), (6, 5)])
def test_a_log_call_of_other_types_is_refused(handle: flux.Flux, level: int, text: str) -> None:
    with pytest.raises(TypeError):
        handle.log(level, text)
    with pytest.raises(ValueError, match="severity"):
        handle.log(8, "text")
