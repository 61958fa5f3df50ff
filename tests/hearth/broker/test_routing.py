"""Requests find their service, answers their requester (RFC 3, RFC 6; docs/protocol.md)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_MSGFLAG_USER1,
    FLUX_MSGTYPE_CONTROL,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
)
from flux.packet import Packet
from tests.hearth.broker.wire import OWNER, Client, answer_to, ask, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router

NORESPONSE = FLUX_MSGFLAG_NORESPONSE


def test_a_service_sees_its_requester_on_the_route_stack_and_the_answer_finds_back(
    client: Client, other: Client
) -> None:
    other.serve("svc")
    client.say(ask("svc.hello", b"raw", 7))
    (request,) = other.got
    assert (request.topic, request.payload, request.aux2) == ("svc.hello", b"raw", 7)
    assert request.routes == [client.uuid]
    other.say(answer_to(request, b"fine"))
    (answer,) = client.got
    assert (answer.type, answer.topic, answer.payload, answer.aux2) == (
        FLUX_MSGTYPE_RESPONSE,
        "svc.hello",
        b"fine",
        7,
    )
    assert answer.routes == []


def test_routes_that_a_client_brought_are_kept_below_its_own(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x", routes=["proxy", "user"]))
    (request,) = other.got
    assert request.routes == [client.uuid, "proxy", "user"]
    other.say(answer_to(request))
    assert client.got[0].routes == ["proxy", "user"]


def test_a_request_without_a_route_stack_gets_one(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x", routes=None))
    assert other.got[0].routes == [client.uuid]


def test_a_request_may_be_answered_many_times(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x", flags=FLUX_MSGFLAG_STREAMING))
    (request,) = other.got
    for text in (b"1", b"2", b"3"):
        other.say(answer_to(request, text))
    assert [answer.payload for answer in client.got] == [b"1", b"2", b"3"]
    assert all(answer.flags & FLUX_MSGFLAG_STREAMING for answer in client.got)


def test_an_answer_goes_through_as_it_was_sent(client: Client, other: Client) -> None:
    """The broker does not check that an answer belongs to a request."""
    other.serve("svc")
    client.say(ask("svc.x"))
    request = other.got[0]
    other.say(
        Packet(FLUX_MSGTYPE_RESPONSE, FLUX_MSGFLAG_USER1, aux1=99, aux2=4711, routes=request.routes, topic="else.where")
    )
    (answer,) = client.got
    assert (answer.topic, answer.aux1, answer.aux2) == ("else.where", 99, 4711)
    assert answer.flags & FLUX_MSGFLAG_USER1


@pytest.mark.parametrize("routes", [None, [], ["ghost"], ["", "x"]])
def test_an_answer_to_nobody_is_dropped(client: Client, other: Client, routes: list[str] | None) -> None:
    other.say(Packet(FLUX_MSGTYPE_RESPONSE, aux2=1, routes=routes, topic="a.b"))
    assert client.got == other.got == []


def test_messages_without_a_topic_and_control_messages_are_ignored(client: Client, router: Router) -> None:
    client.say(
        Packet(FLUX_MSGTYPE_CONTROL, aux1=1, aux2=1),
        Packet(FLUX_MSGTYPE_RESPONSE, routes=[client.uuid]),
        Packet(FLUX_MSGTYPE_REQUEST, routes=[], payload=b"{}\0"),
        Packet(FLUX_MSGTYPE_EVENT, routes=[]),
    )
    assert client.got == []
    assert router.sequence == 0


def test_a_built_in_answer_carries_the_brokers_credentials_and_the_requests_flags(client: Client) -> None:
    answer = client.ask("broker.ping", {"a": 1}, 9, flags=FLUX_MSGFLAG_USER1 | FLUX_MSGFLAG_STREAMING)
    assert (answer.userid, answer.rolemask) == (OWNER, 5)
    assert answer.flags & FLUX_MSGFLAG_USER1
    assert answer.flags & FLUX_MSGFLAG_STREAMING


def test_a_built_in_service_may_answer_one_request_many_times(client: Client, router: Router) -> None:
    request = ask("stream.x", routes=[client.uuid, "user"], flags=FLUX_MSGFLAG_STREAMING)
    router.respond(request, b"1")
    router.respond(request, b"2")
    router.respond_error(request, errno.ENODATA)
    router.respond_error(request, 0)
    assert [(answer.payload, answer.aux1) for answer in client.got] == [
        (b"1", 0),
        (b"2", 0),
        (None, errno.ENODATA),
        (None, errno.EINVAL),
    ]
    assert all(answer.routes == ["user"] for answer in client.got)


# -- where a request may not go


def test_an_unknown_service_says_so(client: Client) -> None:
    answer = client.ask("ghost.method")
    assert (answer.aux1, text_of(answer)) == (errno.ENOSYS, "No service matching ghost.method is registered")


@pytest.mark.parametrize("letter", ["x", "é", "\udcff"])
def test_the_text_for_an_unknown_service_is_cut_at_63_bytes(client: Client, letter: str) -> None:
    answer = client.ask("ghost." + letter * 100)
    assert answer.payload is not None
    assert len(answer.payload) == 64
    assert answer.payload.startswith(b"No service matching ghost.")


def test_an_unknown_method_of_a_built_in_service_says_so(client: Client) -> None:
    answer = client.ask("attr.frobnicate")
    assert (answer.aux1, text_of(answer)) == (errno.ENOSYS, "Unknown service method 'attr.frobnicate'")


def test_the_text_for_an_unknown_method_is_cut_at_255_bytes(client: Client) -> None:
    answer = client.ask("attr." + "é" * 1000)
    assert answer.payload is not None
    assert len(answer.payload) == 256


def test_a_bare_service_name_reaches_nobody_and_says_nothing(client: Client, other: Client) -> None:
    other.serve("svc")
    answer = client.ask("svc")
    assert (answer.aux1, answer.payload) == (errno.ENOSYS, None)
    assert other.got == []


def test_a_service_is_found_by_what_stands_before_the_first_dot(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.a.b.c"), ask("svcx.a"))
    assert [request.topic for request in other.got] == ["svc.a.b.c"]
    assert client.got[0].aux1 == errno.ENOSYS


@pytest.mark.parametrize(
    ("nodeid", "upstream", "arrives"),
    [
        (0xFFFFFFFF, False, True),
        (0, False, True),
        (1, False, False),
        (0xFFFFFFFE, False, False),
        (0, True, False),
        (1, True, True),
        (0xFFFFFFFF, True, True),
    ],
)
def test_a_nodeid_is_reached_or_not(client: Client, nodeid: int, upstream: bool, arrives: bool) -> None:
    answer = client.ask("broker.ping", {}, aux1=nodeid, flags=FLUX_MSGFLAG_UPSTREAM if upstream else 0)
    if arrives:
        assert answer.aux1 == 0
    else:
        assert (answer.aux1, answer.payload) == (errno.EHOSTUNREACH, None)


def test_what_a_connection_asks_of_its_own_end_ignores_the_nodeid(client: Client) -> None:
    assert client.ask("event.subscribe", {"topic": "a"}, aux1=77).aux1 == 0


@pytest.mark.parametrize(
    "request_", [ask("ghost.x"), ask("attr.x"), ask("broker.ping"), ask("broker.ping", {}), ask("event.subscribe")]
)
def test_a_request_that_wants_no_answer_gets_none(client: Client, request_: Packet) -> None:
    for nodeid in (request_.aux1, 5):
        request_.flags, request_.aux1 = NORESPONSE, nodeid
        client.say(request_)
    assert client.got == []


@pytest.mark.parametrize("topic", ["\udcff.x", "\udcff", "svc.\udcfe", "é.é", "", ".", "..", "a" * 300 + ".x"])
@pytest.mark.parametrize("payload", [None, {}])
def test_no_topic_stops_the_messages_behind_it(client: Client, other: Client, topic: str, payload: object) -> None:
    """A topic that is not UTF-8 raised an exception out of the router, and the rest of the read was lost."""
    client.say(ask(topic, payload, 1), ask("broker.ping", {}, 2))
    assert [answer.aux2 for answer in client.got] == [1, 2]
    assert client.got[0].aux1 in (errno.ENOSYS, errno.EINVAL)
    assert client.got[1].aux1 == 0


def test_a_service_part_too_long_for_its_disconnect_is_refused(client: Client, other: Client) -> None:
    fits = "s." + "x" * 242
    other.serve("s")
    client.say(ask(fits + ".m"))
    assert len(other.got) == 1
    assert client.ask(fits + "x.m").aux1 == errno.EINVAL
    client.say(ask("s." + "m" * 5000))
    assert len(other.got) == 2, "a method may be as long as it likes"


# -- ping


def test_ping_gives_everything_back_and_says_which_way_it_came(client: Client, router: Router) -> None:
    sent = {"seq": 3, "pad": "é", "deep": {"list": [1, 2.5, None, True]}, "big": 2**63 - 1}
    answer = json_of(client.ask("broker.ping", sent))
    route = answer.pop("route").split("!")
    assert route[:2] == [client.uuid[:8], router.uuid[:8]]
    assert [len(hop) for hop in route] == [8, 8, 8]
    assert answer == {**sent, "userid": OWNER, "rolemask": 5, "rank": 0}


def test_every_built_in_service_answers_a_ping(client: Client, router: Router) -> None:
    for name in router.builtin:
        assert client.ask(f"{name}.ping", {}).aux1 == 0


@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"",
        b"\0",
        b"{}",
        b"{\0",
        b"[]\0",
        b"7\0",
        b"null\0",
        b'{"a": "\xff"}\0',
        b'{"a": "\\ud800"}\0',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\0",
    ],
    ids=lambda payload: repr(payload)[:20],
)
@pytest.mark.parametrize("topic", ["broker.ping", "event.subscribe", "service.add", "attr.get", "event.publish"])
def test_a_payload_that_is_no_json_object_is_a_protocol_error(client: Client, topic: str, payload: bytes) -> None:
    """Text that is not UTF-8 and nesting without end raised out of the router, or passed for our bug."""
    assert client.ask(topic, payload).aux1 == errno.EPROTO
    assert client.ask("broker.ping", {}).aux1 == 0


def test_bytes_behind_the_first_nul_of_a_payload_are_ignored(client: Client) -> None:
    assert json_of(client.ask("broker.ping", b'{"a":1}\0garbage\0'))["a"] == 1


# -- registered services


def test_a_service_that_was_removed_is_gone(client: Client, other: Client) -> None:
    other.serve("svc")
    assert other.ask("service.remove", {"service": "svc"}).aux1 == 0
    assert client.ask("svc.x").aux1 == errno.ENOSYS
    assert other.ask("service.remove", {"service": "svc"}).aux1 == errno.ENOENT


def test_the_services_of_a_connection_end_with_it(client: Client, other: Client) -> None:
    other.serve("svc")
    other.serve("svc2")
    other.hang_up()
    assert client.ask("svc.x").aux1 == errno.ENOSYS
    client.serve("svc")


@pytest.mark.parametrize("name", ["svc", "attr", "event", "broker"])
def test_a_service_name_is_taken_once(client: Client, other: Client, name: str) -> None:
    if name == "svc":
        other.serve("svc")
        assert other.ask("service.add", {"service": "svc"}).aux1 == errno.EEXIST
    answer = client.ask("service.add", {"service": name})
    assert (answer.aux1, answer.payload) == (errno.EEXIST, None)


def test_a_service_name_has_no_dot(client: Client) -> None:
    assert client.ask("service.add", {"service": "a.b"}).aux1 == errno.EINVAL


@pytest.mark.parametrize("name", ["", "é", "a b"])
def test_any_other_service_name_is_accepted(client: Client, other: Client, name: str) -> None:
    other.serve(name)
    client.say(ask(f"{name}.x"))
    assert other.got[-1].topic == f"{name}.x"


def test_nobody_removes_the_service_of_another(client: Client, other: Client) -> None:
    other.serve("svc")
    assert client.ask("service.remove", {"service": "svc"}).aux1 == errno.ENOENT
    client.say(ask("svc.x"))
    assert len(other.got) == 1


def test_answers_of_the_connector_come_from_nobody_in_particular(client: Client) -> None:
    answer = client.ask("service.add", {"service": "svc"})
    assert (answer.userid, answer.rolemask, answer.payload) == (0xFFFFFFFF, 1, None)


def test_who_asks_a_congested_service_waits_for_it(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x"))
    assert client.waits_for == []
    other.congested = True
    client.say(ask("svc.x"))
    assert client.waits_for == [other]


def test_a_connection_registers_so_many_services_with_names_that_can_be_asked_for(client: Client) -> None:
    for number in range(1024):
        client.serve(f"s{number}")
    assert client.ask("service.add", {"service": "more"}).aux1 == errno.ENOSPC
    assert client.ask("service.remove", {"service": "s7"}).aux1 == 0
    client.serve("x" * 244)
    assert client.ask("service.remove", {"service": "s8"}).aux1 == 0
    assert client.ask("service.add", {"service": "y" * 245}).aux1 == errno.EINVAL


def test_addresses_that_are_no_way_are_not_remembered(client: Client, other: Client) -> None:
    other.serve("svc")
    assert client.ask("svc.x", routes=["x" * 5000]).aux1 == errno.EINVAL
    assert not client.owed
