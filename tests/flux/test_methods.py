"""Each method of a handle keeps its promise with a real broker; `test_handle` has whole conversations."""

from __future__ import annotations

import errno
import gc
import json
import os
import select
import subprocess
import sys
import syslog
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_O_NONBLOCK,
    FLUX_POLLIN,
    FLUX_POLLOUT,
    FLUX_ROLE_ALL,
    FLUX_ROLE_USER,
    FLUX_RPC_STREAMING,
    FLUX_RQ_HEAD,
    FLUX_RQ_TAIL,
    FLUX_USERID_UNKNOWN,
)
from flux.errors import InvalidArguments
from flux.future import Future, WaitAllFuture
from flux.message import Message
from tests.flux.refusals import INVALID, NO_TOPIC, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

Calls = list[Any]
Flux = flux.core.handle.Flux


@pytest.fixture
def h(live: flux.Flux) -> flux.Flux:
    return live


# Opening and closing


def test_close_is_refused_before_and_after_the_connection_is_closed(broker: str) -> None:
    with flux.Flux(broker) as handle:
        with pytest.raises(RuntimeError):
            handle.close()
        assert handle.get_rank() == 0
    with pytest.raises(RuntimeError):
        handle.close()


def test_a_handle_is_of_no_use_after_its_with_block(broker: str) -> None:
    with flux.Flux(broker) as unused:
        pass
    with flux.Flux(broker) as used:
        used.timer_watcher_create(0, lambda *_: None).start()
        used.reactor_run()
    for handle in (unused, used):
        for method, arguments in (
            (handle.rpc, ("broker.ping", {})),
            (handle.send, (Message(),)),
            (handle.event_subscribe, ("a",)),
            (handle.attr_get, ("rank",)),
            (handle.log, (6, "text")),
            (handle.conf_get, ()),
            (handle.recv, ()),
            (handle.recv, (FLUX_MSGTYPE_EVENT, 0, None, FLUX_O_NONBLOCK)),
            (handle.reactor_run, ()),
            (handle.reconnect, ()),
        ):
            refused(errno.EINVAL, "handle is closed; open a new one", method, *arguments)


def test_a_url_is_str_or_bytes(broker: str) -> None:
    with flux.Flux(broker.encode()) as handle:
        assert handle.attr_get("local-uri") == broker
    with pytest.raises(InvalidArguments, match="url: want str or bytes"):
        flux.Flux(3)  # type: ignore[arg-type]  # the refusal is the point


def test_many_handles_of_a_process_are_apart(broker: str) -> None:
    with flux.Flux(broker) as one, flux.Flux(broker) as two:
        assert one.get_reactor() is not two.get_reactor()
        one.event_subscribe("apart")
        two.event_send("apart", 1)
        assert one.event_recv().payload == 1
        two.rpc("broker.ping", {}).get()
        with pytest.raises(BlockingIOError):
            two.recv(flags=FLUX_O_NONBLOCK)


def test_a_thread_may_have_a_handle_and_a_reactor_of_its_own(broker: str) -> None:
    calls: Calls = []

    def run() -> None:
        with flux.Flux(broker) as handle:
            handle.rpc("broker.ping", {"seq": 3}).then(lambda future: calls.append(future.get()["seq"]))
            handle.timer_watcher_create(0, lambda *_: calls.append(handle.reactor_running())).start()
            handle.reactor_run()
            calls.append(handle.reactor_running())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert sorted(calls) == [False, True, 3]
    assert calls[-1] is False


def test_get_flux_and_a_garbage_collection_leave_the_connection_open(h: flux.Flux) -> None:
    """t0012 "02_get_flux"."""
    assert h.rpc("broker.ping", {}).get_flux() is h
    gc.collect()
    assert h.rpc("broker.ping", {}).get()["rank"] == 0


# Messages


def test_event_create_makes_an_event_that_knows_nothing_of_its_sender(h: flux.Flux) -> None:
    event = h.event_create("a.b", {"x": 1})
    assert (event.type, event.topic, event.payload, event.seq, event.routes) == (4, "a.b", {"x": 1}, 0, [])
    assert (event.userid, event.rolemask) == (FLUX_USERID_UNKNOWN, 0)
    assert h.event_create(b"a.b").payload_str is None
    refused(*NO_TOPIC, lambda: h.event_create(None))  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(InvalidArguments):
        h.event_create(15)  # type: ignore[arg-type]  # the refusal is the point


def test_event_send_sends_bytes_whole_and_an_empty_topic_too(h: flux.Flux) -> None:
    h.event_subscribe("")
    assert h.event_send("", b"one\0two") == 0
    event = h.event_recv()
    while event.topic != "":  # the broker's own heartbeat
        event = h.event_recv()
    assert event.raw_payload == b"one\0two\0"
    with pytest.raises(TypeError, match="not JSON serializable"):
        h.event_send("a", object())


def test_event_subscribe_takes_prefixes_and_counts(h: flux.Flux) -> None:
    assert h.event_subscribe(b"counted") == h.event_subscribe("counted") == 0
    h.event_send("counted.more", 1)
    assert h.event_unsubscribe("counted") == 0
    h.event_send("counted.more", 2)
    assert h.event_unsubscribe("counted") == 0
    h.event_send("counted.more", 3)
    h.rpc("broker.ping", {}).get()
    assert [h.recv(flags=FLUX_O_NONBLOCK).payload for _ in range(2)] == [1, 2]
    refused(errno.EAGAIN, "EAGAIN: Resource temporarily unavailable", lambda: h.recv(flags=FLUX_O_NONBLOCK))
    refused(errno.ENOENT, "ENOENT: No such file or directory", lambda: h.event_unsubscribe("counted"))
    for method in (h.event_subscribe, h.event_unsubscribe):
        refused(*NO_TOPIC, method, None)
        with pytest.raises(TypeError):
            method(3)  # type: ignore[arg-type]  # the refusal is the point


def test_event_recv_takes_events_of_a_topic_and_leaves_the_rest(h: flux.Flux) -> None:
    h.event_subscribe("recv")
    for number in range(3):
        h.event_send(f"recv.{number}", number)
    assert h.event_recv("recv.2").payload == 2
    assert h.event_recv(b"recv.[1]").payload == 1
    assert h.event_recv().payload == 0


def test_recv_tells_messages_apart_by_type_tag_and_topic(h: flux.Flux) -> None:
    h.event_subscribe("apart")
    h.event_send("apart.a")
    for tag, topic in ((7, "broker.ping"), (8, "attr.get")):
        request = Message()
        request.topic, request.matchtag, request.payload = topic, tag, {"name": "rank"}
        h.send(request)
    answer = h.recv(type_mask=FLUX_MSGTYPE_RESPONSE, match_tag=8)
    assert (answer.topic, answer.matchtag, answer.payload["value"]) == ("attr.get", 8, "0")
    assert h.recv(topic_glob="*.ping").matchtag == 7
    assert h.recv(FLUX_MSGTYPE_EVENT).topic == "apart.a"
    refused(*INVALID, lambda: h.recv(flags=1))
    with pytest.raises(TypeError):
        h.recv(topic_glob=3, flags=FLUX_O_NONBLOCK)  # type: ignore[arg-type]  # the refusal is the point


def test_send_takes_any_message_even_one_that_nobody_holds(h: flux.Flux) -> None:
    assert h.send(Message()) == h.send(h.event_create("a"), FLUX_O_NONBLOCK) == 0
    refused(*INVALID, lambda: h.send(Message(), 1))
    refused(*INVALID, lambda: h.send(None))  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(InvalidArguments):
        h.send("text")  # type: ignore[arg-type]  # the refusal is the point
    assert h.rpc("broker.ping", {}).get()["rank"] == 0


def test_requeue_puts_a_message_before_or_behind_those_that_wait(h: flux.Flux) -> None:
    h.event_subscribe("again")
    for number in range(3):
        h.event_send("again", number)
    h.rpc("broker.ping", {}).get()  # all have come before its answer
    assert h.requeue(h.recv(), FLUX_RQ_TAIL) == 0
    head = h.recv()
    assert h.requeue(head, FLUX_RQ_HEAD) == 0
    assert [h.recv().payload for _ in range(3)] == [1, 2, 0]
    refused(*INVALID, h.requeue, head, 3)


def test_pollevents_and_pollfd_tell_when_recv_need_not_wait(h: flux.Flux) -> None:
    assert h.pollevents() == FLUX_POLLOUT
    h.event_subscribe("poll")
    h.event_send("poll")
    ready, _, _ = select.select([h.pollfd()], [], [], 20)
    assert ready
    assert h.pollevents() == FLUX_POLLIN | FLUX_POLLOUT
    assert h.recv(flags=FLUX_O_NONBLOCK).topic == "poll"
    assert h.pollevents() == FLUX_POLLOUT


def test_flags_get_gives_the_flags_a_handle_was_opened_with(broker: str) -> None:
    with flux.Flux(broker, FLUX_O_NONBLOCK) as handle:
        assert handle.flags_get() == FLUX_O_NONBLOCK
        with pytest.raises(BlockingIOError):
            handle.recv()
        assert handle.rpc("broker.ping", {}).get()["rank"] == 0


# Requests and answers


@pytest.fixture
def served(h: flux.Flux, broker: str) -> Iterator[flux.Flux]:
    """Another handle, whose service "methods" leaves its requests to `recv`."""
    with flux.Flux(broker) as server:
        server.service_register("methods").get()
        yield server


def test_respond_answers_any_number_of_times_and_never_one_who_wants_none(h: flux.Flux, served: flux.Flux) -> None:
    asked = h.rpc("methods.stream", {"n": 1}, flags=FLUX_RPC_STREAMING)
    request = served.recv(FLUX_MSGTYPE_REQUEST)
    assert (request.topic, request.payload) == ("methods.stream", {"n": 1})
    for payload in ({"a": 1}, "[2]", b"3", None):
        assert served.respond(request, payload) == 0
    for expected in ({"a": 1}, [2], 3, None):
        assert asked.get() == expected
        asked.reset()
    request.flags |= FLUX_MSGFLAG_NORESPONSE
    assert served.respond(request) == served.respond_error(request, errno.EIO, "text") == 0
    request.flags &= ~FLUX_MSGFLAG_NORESPONSE
    served.respond_error(request, errno.ENODATA, None)
    refused(errno.ENODATA, "No data available", asked.get)
    refused(*INVALID, lambda: served.respond(None))  # type: ignore[arg-type]  # the refusal is the point
    for wrong in ("text", 15):
        with pytest.raises(InvalidArguments):
            served.respond(wrong)  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(TypeError, match="not JSON serializable"):
        served.respond(request, object())


def test_respond_error_sends_errno_and_text_and_einval_for_none(h: flux.Flux, served: flux.Flux) -> None:
    for errnum, text, seen in (
        (errno.EEXIST, "it is there", (errno.EEXIST, "it is there")),
        (errno.EPERM, None, (errno.EPERM, "Operation not permitted")),
        (0, "odd", (errno.EINVAL, "odd")),
    ):
        asked = h.rpc("methods.fail")
        assert served.respond_error(served.recv(FLUX_MSGTYPE_REQUEST), errnum, text) == 0
        refused(*seen, asked.get)
    with pytest.raises(TypeError):
        served.respond_error(Message())  # type: ignore[call-arg]  # the refusal is the point


def test_rpc_is_a_future_that_may_stand_in_a_with_block(h: flux.Flux) -> None:
    """t0001 "rpc_with"."""
    with h.rpc("broker.ping", {"seq": 1, "pad": "stuff"}) as asked:
        assert asked.get()["pad"] == "stuff"
        assert json.loads(asked.get_str() or "") == asked.get()
    refused(*INVALID, lambda: h.rpc("a.b", flags=4))
    refused(*NO_TOPIC, lambda: h.rpc(None))  # type: ignore[arg-type]  # the refusal is the point
    for wrong in (-1, 1 << 32):
        with pytest.raises(OverflowError):
            h.rpc("a.b", nodeid=wrong)
    refused(*INVALID, h.rpc("broker.ping", {}, flags=1).get)
    refused(*INVALID, h.rpc("broker.ping", {}, flags=3).get)
    with pytest.raises(TypeError):
        h.rpc("a.b", object())


def test_get_after_then_works_and_the_callback_runs_later(h: flux.Flux) -> None:
    calls: Calls = []
    asked = h.rpc("broker.ping", {"seq": 5}).then(lambda future, extra: calls.append((future.get()["seq"], extra)), "x")
    assert asked.get()["seq"] == 5
    assert calls == []
    assert h.reactor_run() == 0
    assert calls == [(5, "x")]


def test_get_inside_a_callback_reads_what_it_needs(h: flux.Flux) -> None:
    calls: Calls = []

    def ask_again(future: flux.RPC) -> None:
        calls.append(future.get()["seq"])
        calls.append(h.rpc("broker.ping", {"seq": 2}).get()["seq"])

    h.rpc("broker.ping", {"seq": 1}).then(ask_again)
    assert h.reactor_run() == 0
    assert calls == [1, 2]


def test_a_future_of_a_request_shares_its_error_and_has_no_value(h: flux.Flux) -> None:
    """t0012 "08_future_from_future"."""
    assert Future(h.rpc("broker.ping", {})).get() is None
    original = h.rpc("zork.m")
    shared = Future(original)
    assert not shared.is_ready()
    original.wait_for(20)
    assert shared.is_ready()
    del original
    refused(errno.ENOSYS, "No service matching zork.m is registered", shared.get)


def test_a_plain_future_waits_for_all_it_was_given(h: flux.Flux) -> None:
    together = WaitAllFuture()
    assert not together.is_ready()
    for name in ("a", "b"):
        together.push(h.rpc("broker.ping", {}), name)
    assert together.get() is None
    assert all(child.is_ready() for child in together.children)


def test_an_error_string_is_the_services_text(h: flux.Flux) -> None:
    """t0012 "05_future_error_string", with a service that is here."""
    asked = h.rpc("attr.set", {"name": "rank", "value": "7"})
    assert asked.error_string() is None
    with pytest.raises(OSError, match="attribute may not be updated") as raised:
        asked.get()
    assert raised.value.strerror == asked.error_string()


def test_matchtag_avail_counts_the_requests_in_flight(h: flux.Flux) -> None:
    free = h.matchtag_avail()
    asked = [h.rpc("broker.ping", {}) for _ in range(3)]
    assert h.matchtag_avail() == free - 3
    for future in asked:
        future.get()
    assert h.matchtag_avail() == free


def test_reconnect_has_a_new_identity_without_subscriptions_or_services(h: flux.Flux) -> None:
    h.event_subscribe("before")
    h.service_register("reconnected").get()
    route = h.rpc("broker.ping", {}).get()["route"]
    unanswered = h.rpc("reconnected.m")
    assert h.reconnect() == 0
    refused(errno.ECONNRESET, "RPC aborted due to broker reconnect", unanswered.get)
    assert h.rpc("broker.ping", {}).get()["route"] != route
    refused(errno.ENOENT, "ENOENT: No such file or directory", lambda: h.event_unsubscribe("before"))
    with pytest.raises(FileNotFoundError):
        h.service_unregister("reconnected").get()


# Services of the broker


def test_service_register_refuses_names_that_are_none_or_taken(h: flux.Flux) -> None:
    """t1000 001, 002, 005, 006, 009."""
    for name in ("foo", "owner"):
        assert h.service_register(name).get() is None
        refused(errno.EEXIST, "File exists", h.service_register(name).get)
        assert h.service_unregister(name).get() is None
        refused(errno.ENOENT, "No such file or directory", h.service_unregister(name).get)
        refused(errno.ENOSYS, f"No service matching {name}.echo is registered", h.rpc(f"{name}.echo").get)
    for method in (h.service_register, h.service_unregister):
        refused(*NO_TOPIC, method, None)
    for topic in ("service.add", "service.remove"):
        refused(errno.EPROTO, "Protocol error", h.rpc(topic).get)


def test_a_service_goes_with_its_process(h: flux.Flux, broker: str) -> None:
    """t1000 "008_service_remove_on_disconnect"."""
    script = "import flux, sys; flux.Flux(sys.argv[1]).service_register('short-lived').get()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, broker], env=environment, check=True, timeout=30)
    deadline = time.monotonic() + 20
    while (error := h.rpc("short-lived.m").wait_for(20).error_string()) is None:
        assert time.monotonic() < deadline
    assert error == "No service matching short-lived.m is registered"


@pytest.mark.parametrize(("service", "rolemask", "is_let_in"), [("foo", FLUX_ROLE_ALL, True), ("owner", None, False)])
def test_a_users_request_reaches_only_watchers_that_let_users_in(
    h: flux.Flux, service: str, rolemask: int | None, is_let_in: bool
) -> None:
    """t1000 "004_service_rpc_user" and "…_eperm"."""
    seen: Calls = []
    answers: Calls = []

    def echo(handle: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        seen.append((message.userid, message.rolemask))
        assert handle.respond(message, message.payload) == 0

    def answered(handle: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        answers.append(message)
        handle.reactor_stop()

    h.service_register(service).get()
    request = Message()
    request.topic, request.payload = f"{service}.echo", {"data": "foo"}
    request.userid, request.rolemask = 1234, FLUX_ROLE_USER
    with (
        h.msg_watcher_create(echo, FLUX_MSGTYPE_REQUEST, f"{service}.echo", rolemask=rolemask),
        h.msg_watcher_create(answered, FLUX_MSGTYPE_RESPONSE, f"{service}.echo".encode()),
    ):
        h.send(request)
        assert h.reactor_run() > 0
    assert seen == ([(1234, FLUX_ROLE_USER)] if is_let_in else [])
    if is_let_in:
        assert answers[0].payload == {"data": "foo"}
    else:
        refused(errno.EPERM, "EPERM: Operation not permitted", answers[0].decode)
        assert answers[0].payload_str == "Request requires owner credentials"


def test_attributes_that_never_change_are_asked_for_once(h: flux.Flux) -> None:
    free = h.matchtag_avail()
    assert h.get_rank() == int(h.attr_get("rank")) == 0
    assert h.attr_get("local-uri").startswith("local:")
    assert h.matchtag_avail() == free
    refused(errno.EPERM, "EPERM: Operation not permitted", lambda: h.attr_remove("local-uri"))
    refused(errno.ENOENT, "ENOENT: No such file or directory", lambda: h.attr_set("zork", "1"))
    h.attr_set("test.methods", "5")
    for _ in range(2):  # an absent one may be removed, too
        h.attr_remove("test.methods")


def test_log_writes_each_line_as_it_is_into_the_brokers_ring(h: flux.Flux) -> None:
    h.rpc("log.clear").get()
    h.log(syslog.LOG_INFO, "100%s of\r\nit ☺")
    h.log(syslog.LOG_DEBUG, "bytes ü".encode())
    lines: Calls = []
    asked = h.rpc("log.dmesg", {"follow": False}, flags=FLUX_RPC_STREAMING)
    while (text := asked.wait_for(20).error_string()) is None:
        lines.append(asked.get_str())
        asked.reset()
    assert text == "No data available"
    ours = [line for line in lines if f" {os.getpid()} - - " in line]
    assert [line.split(" - - ")[1] for line in ours] == ["100%s of", "it ☺", "bytes ü"]
    assert [line.split(">")[0] for line in ours] == ["<48", "<48", "<56"]


def test_event_publish_is_answered_with_the_events_number(h: flux.Flux) -> None:
    h.event_subscribe("published")
    seq = h.event_publish("published.a", 0, '{"a": 1}').get()["seq"]
    event = h.event_recv()
    assert (event.seq, event.payload) == (seq, {"a": 1})
    assert h.event_publish("published.b", 0, None).get()["seq"] > seq
    assert h.event_recv().payload_str is None
    refused(errno.EPROTO, "Protocol error", h.event_publish("a", 1, None).get)
    refused(*NO_TOPIC, lambda: h.event_publish(None, 0, None))  # type: ignore[arg-type]
