"""When a connection ends, every service that it used is told (docs/protocol.md, "Disconnect")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING, FLUX_MSGFLAG_UPSTREAM, FLUX_MSGFLAG_USER1
from tests.hearth.broker.wire import Client, ask

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Router


def notices(service: Client) -> list[Packet]:
    return [packet for packet in service.got if (packet.topic or "").endswith("disconnect")]


def test_a_notice_is_the_first_request_without_payload_streaming_and_answer(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(
        ask("svc.a", b"data", 3, flags=FLUX_MSGFLAG_STREAMING | FLUX_MSGFLAG_USER1, userid=77, rolemask=2),
        ask("svc.b", b"data", 4),
    )
    client.hang_up()
    (notice,) = notices(other)
    assert notice.topic == "svc.disconnect"
    assert notice.payload is None
    assert notice.flags & FLUX_MSGFLAG_NORESPONSE
    assert notice.flags & FLUX_MSGFLAG_USER1
    assert not notice.flags & FLUX_MSGFLAG_STREAMING
    assert (notice.aux2, notice.userid, notice.rolemask) == (3, 77, 2)
    assert notice.routes == [client.uuid] == other.got[0].routes


def test_the_service_part_reaches_to_the_last_dot(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.a.b"), ask("svc.a.c"), ask("svc.d"))
    client.hang_up()
    assert sorted(notice.topic or "" for notice in notices(other)) == ["svc.a.disconnect", "svc.disconnect"]


def test_there_is_one_notice_for_each_nodeid_and_direction(client: Client, other: Client) -> None:
    """The same topic sent to any node first hid all the others."""
    other.serve("svc")
    client.say(
        ask("svc.a"),
        ask("svc.a", aux1=0),
        ask("svc.a", aux1=0),
        ask("svc.a", aux1=3, flags=FLUX_MSGFLAG_UPSTREAM),
        ask("svc.b"),
    )
    client.hang_up()
    assert sorted((notice.aux1, notice.flags & FLUX_MSGFLAG_UPSTREAM) for notice in notices(other)) == [
        (0, 0),
        (3, FLUX_MSGFLAG_UPSTREAM),
        (0xFFFFFFFF, 0),
    ]


def test_a_request_that_wants_no_answer_owes_no_notice(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.a", flags=FLUX_MSGFLAG_NORESPONSE))
    client.hang_up()
    assert notices(other) == []


def test_a_request_without_an_answer_does_not_hide_the_next(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.a", matchtag=0, flags=FLUX_MSGFLAG_NORESPONSE), ask("svc.a", matchtag=5))
    client.hang_up()
    assert [notice.aux2 for notice in notices(other)] == [5]


def test_the_connections_own_methods_owe_no_notice(client: Client, router: Router) -> None:
    for topic, payload in (("event.subscribe", {"topic": ""}), ("service.add", {"service": "mine"})):
        client.ask(topic, payload)
    assert client.owed == {}
    client.hang_up()


def test_services_that_are_not_there_do_not_keep_others_from_being_told(client: Client, other: Client) -> None:
    """The end of the connection broke off at the first of them."""
    gone = Client(client.router, "gone")
    gone.serve("gone")
    other.serve("svc")
    client.say(ask("ghost.x"), ask("ghost"), ask("gone.x"), ask("attr.list"), ask("svc.x", aux1=9), ask("svc.x"))
    gone.hang_up()
    client.hang_up()
    assert len(notices(other)) == 1


def test_a_proxied_sender_stays_the_last_route(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x", routes=["user"]))
    client.hang_up()
    assert notices(other)[0].routes == [client.uuid, "user"]


def test_a_connection_ends_once(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x"))
    client.hang_up()
    client.hang_up()
    assert len(notices(other)) == 1


def test_two_connections_that_use_each_other_may_end_in_any_order(router: Router) -> None:
    one, two = Client(router, "one"), Client(router, "two")
    one.serve("one")
    two.serve("two")
    one.say(ask("two.x"), ask("one.self"))
    two.say(ask("one.x"))
    one.hang_up()
    two.hang_up()
    assert [notice.topic for notice in notices(two)] == ["two.disconnect"]
    assert not router.registered
    assert not router.ports


def test_what_is_remembered_of_a_connection_is_bounded(client: Client, other: Client) -> None:
    other.serve("svc")
    for number in range(5000):
        client.say(ask(f"svc.{number}.x"), ask("svc." + "y" * 1000 + str(number)))
    assert len(client.owed) <= 4096
    assert len(client.seen) <= 1024
    assert max(map(len, client.seen)) <= 255
