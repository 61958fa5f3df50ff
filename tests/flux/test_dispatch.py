from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_POLLIN,
    FLUX_ROLE_ALL,
    FLUX_ROLE_OWNER,
    FLUX_ROLE_USER,
    FLUX_RQ_TAIL,
)
from flux.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    import flux
    from flux.message import Message
    from tests.flux.conftest import Peer

Calls = list[Any]


def incoming(topic: str | None, *, tag: int = 9, role: int = FLUX_ROLE_OWNER, flags: int = 0) -> Packet:
    """A request as a broker hands it to a service."""
    return Packet(1, flags, 1000, role, 0xFFFFFFFF, tag, ["broker", "sender"], topic, b"{}\0")


def event(topic: str, role: int = FLUX_ROLE_OWNER) -> Packet:
    published = wire.event(topic)
    published.rolemask = role
    return published


def last(handle: flux.Flux, peer: Peer) -> None:
    """Run until all that the peer has sent so far is handled."""
    rpc = handle.rpc("s.last")
    while (request := peer.read()).topic != "s.last":
        pytest.fail(f"unexpected {request}")
    peer.answer(request)
    rpc.then(lambda _: handle.reactor_stop())
    handle.reactor_run()


def noting(calls: Calls, name: str) -> Callable[..., None]:
    return lambda _handle, _watcher, message, _args: calls.append((name, message.topic))


def test_a_watcher_gets_handle_itself_message_and_args(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    watcher = handle.msg_watcher_create(lambda *args: calls.append(args), FLUX_MSGTYPE_REQUEST, "s.*", args="mine")
    with watcher:
        peer.send(incoming("s.m"))
        last(handle, peer)
    ((got_handle, got_watcher, message, args),) = calls
    assert (got_handle, got_watcher, args) == (handle, watcher, "mine")
    assert (message.topic, message.payload, message.matchtag) == ("s.m", {}, 9)


def test_an_exact_topic_goes_to_the_newest_of_its_watchers(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    for name, glob in (("old", "s.m"), ("new", "s.m"), ("glob", "*")):
        handle.msg_watcher_create(noting(calls, name), FLUX_MSGTYPE_REQUEST, glob).start()
    peer.send(incoming("s.m"), incoming("s.other"))
    last(handle, peer)
    assert calls == [("new", "s.m"), ("glob", "s.other")]


def test_a_stopped_exact_watcher_leaves_the_request_to_the_globs(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    for name, glob in (("old glob", "s.*"), ("new glob", "*"), ("old", "s.m")):
        handle.msg_watcher_create(noting(calls, name), FLUX_MSGTYPE_REQUEST, glob).start()
    newest = handle.msg_watcher_create(noting(calls, "new"), FLUX_MSGTYPE_REQUEST, b"s.m")
    peer.send(incoming("s.m"))
    last(handle, peer)
    newest.destroy()
    peer.send(incoming("s.m"))
    last(handle, peer)
    assert calls == [("new glob", "s.m"), ("old", "s.m")]


def test_an_event_goes_to_all_that_match_newest_first(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    for name, glob in (("one", "e.*"), ("other", "x.*"), ("two", "*")):
        handle.msg_watcher_create(noting(calls, name), FLUX_MSGTYPE_EVENT, glob).start()
    peer.send(event("e.1"))
    last(handle, peer)
    assert calls == [("two", "e.1"), ("one", "e.1")]


def test_a_request_that_nobody_takes_is_answered(handle: flux.Flux, peer: Peer) -> None:
    with handle.msg_watcher_create(noting([], "never"), FLUX_MSGTYPE_REQUEST, "s.m"):
        peer.send(incoming("s.zork", tag=5), incoming("s.zork", flags=FLUX_MSGFLAG_NORESPONSE), incoming("x" * 300))
        handle.rpc("s.last").then(lambda _: handle.reactor_stop())
        asked = peer.read()
        peer.answer(asked)
        handle.reactor_run()
    answer, cut = peer.read(), peer.read()
    assert (answer.aux1, answer.aux2, answer.routes) == (errno.ENOSYS, 5, ["broker", "sender"])
    assert answer.payload == b"Unknown service method 's.zork'\0"
    assert len(cut.payload or b"") == 255 + 1
    assert peer.has_been_sent_nothing()


def test_other_messages_that_nobody_takes_are_dropped(handle: flux.Flux, peer: Peer) -> None:
    with handle.msg_watcher_create(noting([], "never"), FLUX_MSGTYPE_REQUEST, "s.m"):
        peer.send(event("e"), Packet(2, aux2=77, routes=[], topic="s.m"), Packet(8))
        last(handle, peer)
    assert peer.has_been_sent_nothing()
    assert not handle.link.inbox


@pytest.mark.parametrize(
    ("rolemask", "text"),
    [(None, b"Request requires owner credentials\0"), (8, b"Request rejected due to insufficient privilege\0")],
)
def test_a_sender_without_the_role_is_refused(handle: flux.Flux, peer: Peer, rolemask: int | None, text: bytes) -> None:
    calls: Calls = []
    with handle.msg_watcher_create(noting(calls, "got"), rolemask=rolemask):
        peer.send(incoming("s.m", role=FLUX_ROLE_USER), event("e", role=FLUX_ROLE_USER), incoming("s.m"))
        handle.rpc("s.last").then(lambda _: handle.reactor_stop())
        peer.answer(peer.read())
        handle.reactor_run()
    refusal = peer.read()
    assert (refusal.aux1, refusal.payload) == (errno.EPERM, text)
    assert calls == [("got", "s.m")]


def test_a_role_that_is_let_in_gets_in(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    with handle.msg_watcher_create(noting(calls, "got"), rolemask=FLUX_ROLE_ALL):
        peer.send(incoming("s.m", role=FLUX_ROLE_USER))
        last(handle, peer)
    assert calls == [("got", "s.m")]


def test_a_response_watcher_may_ask_for_one_tag(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    with handle.msg_watcher_create(noting(calls, "tag 7"), FLUX_MSGTYPE_RESPONSE, match_tag=7):
        for tag, routes in ((7, ["far"]), (8, []), (7, [])):
            peer.send(Packet(2, rolemask=FLUX_ROLE_OWNER, aux2=tag, routes=routes, topic=f"{tag}.{len(routes)}"))
        last(handle, peer)
    assert calls == [("tag 7", "7.0")]


def test_a_topic_that_is_no_text_is_refused(handle: flux.Flux) -> None:
    for glob in (None, 15):
        with pytest.raises(TypeError):
            handle.msg_watcher_create(noting([], "never"), topic_glob=glob)  # type: ignore[arg-type]  # on purpose


def test_one_message_a_turn_lets_other_watchers_have_theirs(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    handle.check_watcher_create(lambda *_: calls.append("check")).start().unref()
    with handle.msg_watcher_create(noting(calls, "got")):
        peer.send(event("e.1"), event("e.2"))
        last(handle, peer)
    assert calls.index(("got", "e.2")) - calls.index(("got", "e.1")) == 2


def test_a_timer_that_falls_due_is_called_between_two_messages(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []

    def callback(_handle: flux.Flux, _watcher: object, message: Any, _args: object) -> None:
        calls.append(message.topic)
        if len(calls) == 1:
            handle.timer_watcher_create(0, lambda *_: calls.append("timer")).start()

    with handle.msg_watcher_create(callback):
        peer.send(*(event(f"e.{number}") for number in range(5)))
        last(handle, peer)
    assert calls == ["e.0", "timer", "e.1", "e.2", "e.3", "e.4"]


def test_a_descriptor_that_is_watched_is_looked_at_between_two_messages(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    fd = os.eventfd(0)

    def callback(_handle: flux.Flux, _watcher: object, message: Any, _args: object) -> None:
        calls.append(message.topic)
        if len(calls) == 1:
            os.eventfd_write(fd, 1)

    def readable(*_: object) -> None:
        calls.append("fd")
        os.eventfd_read(fd)

    with handle.msg_watcher_create(callback), handle.fd_watcher_create(fd, readable, FLUX_POLLIN):
        peer.send(*(event(f"e.{number}") for number in range(5)))
        last(handle, peer)
    os.close(fd)
    assert calls.index("fd") <= 2


def test_a_callback_takes_its_turn_among_the_messages(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    with handle.msg_watcher_create(noting(calls, "got"), FLUX_MSGTYPE_EVENT):
        handle.rpc("s.m").then(lambda _: calls.append("answer"))
        request = peer.read()
        peer.send(event("e.1"), event("e.2"), wire.response_to(request), event("e.3"))
        last(handle, peer)
    assert calls == [("got", "e.1"), ("got", "e.2"), "answer", ("got", "e.3")]


def test_what_waits_while_a_callback_blocks_is_dispatched_afterwards(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []

    def callback(_handle: flux.Flux, _watcher: object, message: Any, _args: object) -> None:
        calls.append(message.topic)
        if message.topic == "e.1":
            rpc = handle.rpc("s.m")
            handle.link.flush()
            asked = peer.read()
            peer.send(event("e.3"), wire.response_to(asked, b'"blocked"\0'))
            calls.append(rpc.get())

    with handle.msg_watcher_create(callback, FLUX_MSGTYPE_EVENT):
        peer.send(event("e.1"), event("e.2"))
        last(handle, peer)
        last(handle, peer)
    assert calls == ["e.1", "blocked", "e.2", "e.3"]


def test_what_callbacks_send_leaves_together(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []

    def callback(*_: object) -> None:
        for number in range(10):
            handle.event_send(f"e.{number}")
        calls.append(peer.has_been_sent_nothing())

    handle.timer_watcher_create(0, callback).start()
    handle.reactor_run()
    assert calls == [True]
    assert [peer.read().topic for _ in range(10)] == [f"e.{number}" for number in range(10)]


def test_a_callback_that_sends_without_end_holds_back_no_more_than_a_few_hundred(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []

    def callback(*_: object) -> None:
        for number in range(1000):
            handle.event_send(f"e.{number}")
        calls.append(peer.has_been_sent_nothing())

    handle.timer_watcher_create(0, callback).start()
    handle.reactor_run()
    assert calls == [False]


def test_a_peer_that_sends_faster_than_we_handle_is_not_read_without_end(handle: flux.Flux, peer: Peer) -> None:
    handled = most = 0
    unsent = 20_000

    def flood() -> None:
        nonlocal unsent
        while unsent:
            peer.send(*(event("e") for _ in range(100)))
            unsent -= 100

    def callback(*_: object) -> None:
        nonlocal handled, most
        handled += 1
        most = max(most, len(handle.link.inbox))
        if handled == 20_000:
            handle.reactor_stop()

    read_end, write_end = os.pipe()
    sender = threading.Thread(target=flood)
    try:
        with (
            handle.fd_watcher_create(read_end, lambda *_: None, FLUX_POLLIN),  # one message a turn
            handle.msg_watcher_create(callback, FLUX_MSGTYPE_EVENT),
        ):
            sender.start()
            handle.reactor_run()
    finally:
        os.close(read_end)
        os.close(write_end)
    sender.join()
    assert most < 6_000


def test_messages_that_are_put_back_do_not_keep_what_they_wait_for_from_being_read(
    handle: flux.Flux, peer: Peer
) -> None:
    handle_next: list[int] = []

    def callback(_handle: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        if handle_next:
            handle.reactor_stop()
        elif message.topic == "last":
            handle_next.append(1)
        else:
            handle.requeue(message, FLUX_RQ_TAIL)

    with handle.msg_watcher_create(callback, FLUX_MSGTYPE_EVENT):
        peer.send(*(event("early") for _ in range(2000)))
        sender = threading.Timer(0.05, peer.send, [event("last")])
        sender.start()
        handle.reactor_run()
    sender.join()
    assert handle_next


def test_an_answer_does_not_wait_for_the_requests_behind_it_when_they_take_long(handle: flux.Flux, peer: Peer) -> None:
    unsent: Calls = []

    def callback(_handle: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        unsent.append(peer.has_been_sent_nothing())
        handle.respond(message)
        until = time.monotonic() + 0.005
        while time.monotonic() < until:
            pass
        if len(unsent) == 3:
            handle.reactor_stop()

    with handle.msg_watcher_create(callback, FLUX_MSGTYPE_REQUEST):
        peer.send(*(incoming("s.m") for _ in range(3)))
        handle.reactor_run()
    assert unsent == [True, False, False]


def test_what_a_callback_sent_before_it_ended_the_process_leaves(handle: flux.Flux, peer: Peer) -> None:
    def callback(*_: object) -> None:
        handle.event_send("last.words")
        raise SystemExit(3)

    handle.timer_watcher_create(0, callback).start()
    with pytest.raises(SystemExit):
        handle.reactor_run()
    assert not peer.has_been_sent_nothing()
    assert peer.read().topic == "last.words"
