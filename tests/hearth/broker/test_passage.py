"""The short way through the router sends what the long way sends, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_MSGFLAG_USER1,
    FLUX_MSGTYPE_CONTROL,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
    FLUX_USERID_UNKNOWN,
)
from flux.packet import Cutter, Packet
from hearth.broker.passage import Passage
from hearth.broker.router import Port, Router
from tests.hearth.broker.wire import BROKER, OWNER, ask, guest_credentials, owner_credentials

if TYPE_CHECKING:
    from hearth.broker.credentials import Credentials

ASKER = "aaaaaaaa-0000-0000-0000-000000000000"
SERVER = "cccccccc-0000-0000-0000-000000000000"
LISTENER = "dddddddd-0000-0000-0000-000000000000"


class Wire(Port):
    """A connection that keeps the bytes it is sent."""

    def __init__(self, router: Router, uuid: str, credentials: Credentials) -> None:
        super().__init__(uuid, credentials)
        self.bytes = b""
        router.add(self)

    def send(self, data: bytes) -> None:
        self.bytes += data

    def wait_for(self, congested: Port) -> None:
        raise AssertionError("nobody is congested")


class Side:
    """A broker with three connections: one that asks, one that serves `svc`, one that hears of `svc`."""

    def __init__(self, credentials: Credentials, *, may_be_short: bool) -> None:
        self.router = Router(BROKER, OWNER)
        self.asker = Wire(self.router, ASKER, credentials)
        self.server = Wire(self.router, SERVER, owner_credentials)
        self.listener = Wire(self.router, LISTENER, owner_credentials)
        self.router.receive(self.server, ask("service.add", {"service": "svc"}))
        self.router.receive(self.listener, ask("event.subscribe", {"topic": "svc"}))
        self.passage = Passage(self.router, self.asker) if may_be_short else None
        self.were_short = 0

    def hear(self, data: bytes) -> None:
        for body, start, end in Cutter().bodies(data):
            if self.passage is not None and self.passage.send_on(body, start, end):
                self.were_short += 1
            else:
                self.router.receive(self.asker, wire.decode_body(body, start, end))

    @property
    def outcome(self) -> object:
        sent = [port.bytes for port in (self.asker, self.server, self.listener)]
        return sent, self.router.traffic(), self.router.sequence, self.asker.owed


def compare(data: bytes, credentials: Credentials = owner_credentials) -> int:
    """Say data to both; they must do the same. Returns how many messages went the short way."""
    short, long = Side(credentials, may_be_short=True), Side(credentials, may_be_short=False)
    short.hear(data)
    long.hear(data)
    assert short.outcome == long.outcome
    return short.were_short


def said(packet: Packet) -> bytes:
    """Twice, for the first request to a service always goes the long way."""
    return wire.encode(packet) * 2


topics = st.sampled_from(
    ["svc.echo", "svc.echo", "svc", "svc.", "svc.\udcff", "other.x", "attr.ping", "", "svc." + "y" * 260]
)
payloads = st.one_of(st.none(), st.binary(max_size=5), st.sampled_from([254, 255, 256, 70000]).map(bytes))
flags = st.sampled_from(
    [
        0,
        0,
        FLUX_MSGFLAG_NORESPONSE,
        FLUX_MSGFLAG_STREAMING,
        FLUX_MSGFLAG_PRIVATE,
        FLUX_MSGFLAG_UPSTREAM,
        FLUX_MSGFLAG_USER1,
    ]
)
routes: st.SearchStrategy[list[str] | None] = st.one_of(
    st.none(),
    st.just([]),
    st.lists(st.sampled_from([ASKER, SERVER, "short", "x" * 36, "é" * 18, "z" * 300]), max_size=3),
)
packets = st.builds(
    Packet,
    st.sampled_from([FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE, FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_CONTROL]),
    flags,
    st.sampled_from([FLUX_USERID_UNKNOWN, FLUX_USERID_UNKNOWN, OWNER, 7]),
    st.sampled_from([0, 0, 1, 2, 0xFFFFFFFF]),
    st.sampled_from([FLUX_NODEID_ANY, FLUX_NODEID_ANY, 0, 5]),
    st.integers(0, 0xFFFFFFFF),
    routes,
    st.one_of(st.none(), topics),
    payloads,
)


@given(st.lists(packets, max_size=4), st.booleans())
def test_any_message_is_sent_on_as_the_long_way_does(several: list[Packet], is_guest: bool) -> None:
    compare(b"".join(map(said, several)), guest_credentials if is_guest else owner_credentials)


@given(packets, st.data())
def test_a_broken_message_is_refused_or_sent_on_as_the_long_way_does(packet: Packet, data: st.DataObject) -> None:
    good = wire.encode(packet)
    broken = bytearray(good)
    at = data.draw(st.integers(wire.HEADER_SIZE, len(good) - 1))
    broken[at] = data.draw(st.integers(0, 255))
    short, long = Side(owner_credentials, may_be_short=True), Side(owner_credentials, may_be_short=False)
    ends = []
    for side in (short, long):
        side.hear(good)
        try:
            side.hear(bytes(broken))
        except wire.ProtocolError as error:
            ends.append(str(error))
    assert short.outcome == long.outcome
    assert len(ends) in (0, 2)


@pytest.mark.parametrize("payload", [None, b"", b"x" * 254, b"x" * 255, b"x" * 100_000])
def test_the_second_request_to_a_service_goes_the_short_way(payload: bytes | None) -> None:
    assert compare(said(ask("svc.echo", payload))) == 1


def test_every_response_goes_the_short_way() -> None:
    answer = wire.response_to(ask("svc.echo", routes=[LISTENER]), b"payload", 5)
    assert compare(said(answer)) == 2


def test_every_public_event_goes_the_short_way() -> None:
    assert compare(said(wire.event("svc.heard", b"payload")) + said(wire.event("unheard"))) == 4


def test_a_guest_may_claim_nothing_on_the_short_way() -> None:
    claim = wire.encode(ask("svc.echo", b"", userid=OWNER, rolemask=1))
    side = Side(guest_credentials, may_be_short=True)
    side.hear(claim * 2)
    assert side.were_short == 1
    first, second = wire.Decoder().feed(side.server.bytes)[1:]  # the answer to service.add comes before
    assert first == second
    assert (second.userid, second.rolemask) == tuple(guest_credentials)


def test_a_topic_of_many_bytes_in_few_letters_has_no_short_way() -> None:
    """255 in front of a frame says that its length follows: no topic of so many bytes can be told by its first one."""
    side = Side(owner_credentials, may_be_short=True)
    side.hear(said(ask("svc." + "é" * 125)))  # 254 bytes
    assert (side.were_short, len(side.router.ways)) == (1, 1)
    side.hear(said(ask("svc.x" + "é" * 125)))
    assert (side.were_short, len(side.router.ways)) == (1, 1)


def test_a_service_that_is_gone_has_no_short_way() -> None:
    side = Side(owner_credentials, may_be_short=True)
    side.hear(said(ask("svc.echo")))
    before = side.server.bytes
    side.router.receive(side.server, ask("service.remove", {"service": "svc"}))
    after_removal = side.server.bytes
    side.hear(said(ask("svc.echo", matchtag=9)))
    assert before != after_removal == side.server.bytes
    assert [packet.aux1 for packet in wire.Decoder().feed(side.asker.bytes)] == [38, 38]
