"""Publishing, subscribing, order and privacy of events."""

from __future__ import annotations

import base64
import errno
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux import packet as wire
from flux.constants import FLUX_MSGFLAG_PRIVATE, FLUX_MSGTYPE_EVENT
from hearth.broker.credentials import Credentials
from hearth.broker.subscriptions import PREFIX_MAX, PREFIXES_MAX, Subscriptions
from tests.hearth.broker.wire import GUEST, OWNER, Client, json_of

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Router


def subscribe(client: Client, *topics: str) -> None:
    for topic in topics:
        assert client.ask("event.subscribe", {"topic": topic}).aux1 == 0


def events(client: Client) -> list[Packet]:
    return [packet for packet in client.got if packet.type == FLUX_MSGTYPE_EVENT]


@pytest.mark.parametrize(
    ("prefix", "topic", "matches"),
    [
        ("pre", "pre", True),
        ("pre", "prefix.x.y", True),
        ("pre", "pre.a", True),
        ("pre", "prf", False),
        ("pre", "pr", False),
        ("", "anything", True),
        ("p*", "pre", False),
        ("p*", "p*x", True),
    ],
)
def test_a_subscription_is_a_plain_prefix(
    client: Client, other: Client, prefix: str, topic: str, matches: bool
) -> None:
    subscribe(client, prefix)
    other.say(wire.event(topic))
    assert bool(events(client)) == matches


def test_several_matching_subscriptions_deliver_one_copy(client: Client, other: Client) -> None:
    subscribe(client, "a", "a.b", "", "a")
    other.say(wire.event("a.b.c"))
    assert len(events(client)) == 1


def test_subscriptions_are_counted(client: Client, other: Client) -> None:
    subscribe(client, "a", "a")
    assert client.ask("event.unsubscribe", {"topic": "a"}).aux1 == 0
    other.say(wire.event("a"))
    assert len(events(client)) == 1
    assert client.ask("event.unsubscribe", {"topic": "a"}).aux1 == 0
    other.say(wire.event("a"))
    assert len(events(client)) == 1
    answer = client.ask("event.unsubscribe", {"topic": "a"})
    assert (answer.aux1, answer.payload) == (errno.ENOENT, None)


def test_what_another_has_subscribed_cannot_be_unsubscribed(client: Client, other: Client) -> None:
    subscribe(other, "a")
    assert client.ask("event.unsubscribe", {"topic": "a"}).aux1 == errno.ENOENT
    client.say(wire.event("a"))
    assert len(events(other)) == 1


def test_subscriptions_end_with_their_connection(client: Client, other: Client) -> None:
    subscribe(client, "a")
    client.hang_up()
    other.say(wire.event("a"))
    assert events(client) == []


def test_the_publisher_gets_its_own_event_if_it_subscribed(client: Client) -> None:
    subscribe(client, "a")
    client.say(wire.event("a", b"data"))
    (event,) = events(client)
    assert (event.topic, event.payload, event.aux1, event.aux2) == ("a", b"data", 1, 0)


def test_the_sequence_counts_every_event_heard_or_not(client: Client, other: Client) -> None:
    other.say(wire.event("unheard"))
    subscribe(client, "a")
    other.say(wire.event("a"), wire.event("unheard"), wire.event("a"))
    other.ask("event.publish", {"topic": "unheard", "flags": 0})
    other.say(wire.event("a"))
    assert [event.aux1 for event in events(client)] == [2, 4, 6]


def test_the_sequence_wraps_at_32_bits(client: Client, router: Router) -> None:
    router.sequence = 0xFFFFFFFF
    subscribe(client, "a")
    client.say(wire.event("a"))
    assert events(client)[0].aux1 == 0


def test_all_subscribers_see_one_order(client: Client, other: Client, guest: Client) -> None:
    for listener in (client, guest):
        subscribe(listener, "")
    for number in range(50):
        (client, other, guest)[number % 3].say(wire.event("t", str(number).encode()))
    seen = [[(event.aux1, event.payload) for event in events(listener)] for listener in (client, guest)]
    assert seen[0] == seen[1] == [(number + 1, str(number).encode()) for number in range(50)]


def test_answers_and_events_keep_the_brokers_order(client: Client) -> None:
    subscribe(client, "a")
    client.ask("event.publish", {"topic": "a", "flags": 0}, 8)
    assert [packet.type for packet in client.got] == [FLUX_MSGTYPE_EVENT], "the event comes before its answer"


def test_an_event_carries_its_publisher_and_two_routes(client: Client, guest: Client, router: Router) -> None:
    subscribe(client, "a")
    guest.say(wire.event("a"))
    (event,) = events(client)
    assert (event.userid, event.rolemask) == (GUEST, 6)
    assert event.routes == [router.uuid, guest.uuid]


def test_an_event_published_by_request_carries_one_route_and_the_requesters_credentials(
    client: Client, guest: Client, router: Router
) -> None:
    subscribe(client, "a")
    guest.ask("event.publish", {"topic": "a", "flags": 0})
    (event,) = events(client)
    assert (event.userid, event.rolemask, event.routes, event.payload) == (GUEST, 6, [router.uuid], None)


def test_publishing_answers_the_sequence_and_decodes_the_payload(client: Client) -> None:
    subscribe(client, "a")
    payload = base64.b64encode(b'{"a":1}\0').decode()
    answer = client.ask("event.publish", {"topic": "a.b", "flags": 0, "payload": payload})
    assert json_of(answer) == {"seq": 1}
    assert events(client)[0].payload == b'{"a":1}\0'


@pytest.mark.parametrize("flags", [1, 2, 4, 33, 64, 256, -1, 2**40])
def test_publishing_with_other_flags_than_private_is_a_protocol_error(client: Client, flags: int) -> None:
    assert client.ask("event.publish", {"topic": "a", "flags": flags}).aux1 == errno.EPROTO


@pytest.mark.parametrize("payload", ["x", "====", "a b=", "é", "YQ", 7])
def test_publishing_bad_base64_is_a_protocol_error_and_publishes_nothing(
    client: Client, router: Router, payload: object
) -> None:
    """A letter beyond ASCII was answered as our bug."""
    assert client.ask("event.publish", {"topic": "a", "flags": 0, "payload": payload}).aux1 == errno.EPROTO
    assert router.sequence == 0


@pytest.mark.parametrize("request_", [{}, {"topic": "a"}, {"flags": 0}, {"topic": 1, "flags": 0}])
def test_publishing_without_topic_or_flags_is_a_protocol_error(client: Client, request_: dict[str, object]) -> None:
    assert client.ask("event.publish", request_).aux1 == errno.EPROTO


# -- private


def test_a_private_event_reaches_its_senders_user_and_the_owner_only(client: Client, guest: Client) -> None:
    stranger = Client(client.router, "stranger", Credentials(3000, 6))
    twin = Client(client.router, "twin", guest.credentials)
    for listener in (client, guest, stranger, twin):
        subscribe(listener, "a")
    guest.say(wire.event("a", flags=FLUX_MSGFLAG_PRIVATE))
    guest.ask("event.publish", {"topic": "a", "flags": FLUX_MSGFLAG_PRIVATE})
    assert [len(events(listener)) for listener in (client, guest, twin, stranger)] == [2, 2, 2, 0]
    assert all(event.flags & FLUX_MSGFLAG_PRIVATE for event in events(client))


def test_a_private_event_of_the_owner_reaches_owners_only(client: Client, other: Client, guest: Client) -> None:
    for listener in (other, guest):
        subscribe(listener, "a")
    client.say(wire.event("a", flags=FLUX_MSGFLAG_PRIVATE))
    assert (len(events(other)), len(events(guest))) == (1, 0)


def test_an_owner_may_publish_a_private_event_as_somebody(client: Client, guest: Client) -> None:
    subscribe(guest, "a")
    event = wire.event("a", flags=FLUX_MSGFLAG_PRIVATE)
    event.userid = GUEST
    client.say(event)
    assert events(guest)[0].userid == GUEST
    assert OWNER != GUEST


# -- the table


def test_the_table_of_subscriptions_forgets_what_ended() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add("a", "x")
    table.add("a.b", "x")
    table.add("a", "y")
    assert table.matching("a.b.c") == ("x", "y")
    table.forget("x")
    assert table.matching("a.b.c") == ("y",)
    assert table.remove("a", "x") is False
    assert table.remove("a", "y") is True
    assert table.matching("a.b.c") == ()
    assert table.remove("never", "y") is False


def test_topics_are_remembered_within_bounds() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add("", "x")
    for number in range(10_000):
        assert table.matching(f"topic.{number}") == ("x",)
        assert table.matching("y" * 1000 + str(number)) == ("x",)
    assert len(table._matches) <= 4096
    assert max(map(len, table._matches)) <= 255


@given(
    st.lists(st.tuples(st.text("ab.", max_size=4), st.sampled_from("xyz"), st.booleans()), max_size=30),
    st.text("ab.", max_size=6),
)
def test_whichever_way_they_are_looked_up_the_same_subscribers_are_found(
    changes: list[tuple[str, str, bool]], topic: str
) -> None:
    table: Subscriptions[str] = Subscriptions()
    expected: Counter[tuple[str, str]] = Counter()
    for prefix, subscriber, comes in changes:
        if comes:
            table.add(prefix, subscriber)
            expected[prefix, subscriber] += 1
        else:
            assert table.remove(prefix, subscriber) == bool(expected[prefix, subscriber])
            expected[prefix, subscriber] -= bool(expected[prefix, subscriber])
    for length in range(len(topic) + 1):
        wanted = {name for (prefix, name), count in expected.items() if count and topic[:length].startswith(prefix)}
        assert set(table.matching(topic[:length])) == wanted
    for gone in "xyz":
        table.forget(gone)
    assert table.matching(topic) == ()
    assert not table._counts
    assert not table._prefixes


def test_a_connection_has_so_many_subscriptions_and_others_are_served_as_fast(client: Client, other: Client) -> None:
    for number in range(PREFIXES_MAX):
        assert client.ask("event.subscribe", {"topic": f"many.{number}."}).aux1 == 0
    assert client.ask("event.subscribe", {"topic": "one.more"}).aux1 == errno.ENOSPC
    assert client.ask("event.subscribe", {"topic": "many.7."}).aux1 == 0, "what it has it may have twice"
    assert client.ask("event.subscribe", {"topic": "x" * (PREFIX_MAX + 1)}).aux1 == errno.EINVAL
    assert other.ask("event.subscribe", {"topic": "x" * PREFIX_MAX}).aux1 == 0
    client.say(wire.event("many.77.x"), wire.event("x" * (PREFIX_MAX + 5)))
    assert [packet.topic for packet in client.got] == ["many.77.x"]
    assert [packet.topic for packet in other.got] == ["x" * (PREFIX_MAX + 5)]
    assert client.ask("event.unsubscribe", {"topic": "many.0."}).aux1 == 0
    assert client.ask("event.subscribe", {"topic": "one.more"}).aux1 == 0
