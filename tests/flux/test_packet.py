from __future__ import annotations

import contextlib
import errno
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux import packet as wire
from flux.packet import Decoder, Packet, ProtocolError
from tests.flux.vectors import DECODES, MESSAGES, PACKETS, STREAM, packet_of, payload_of

FRAME_FLAGS = 0x01 | 0x02 | 0x08
HEADER = bytes.fromhex("1200eeff")
SHORT = [bytes.fromhex(entry["hex"]) for entry in MESSAGES if len(entry["hex"]) < 400]

words = st.integers(0, 0xFFFFFFFF)
texts = st.text(max_size=300).filter(lambda text: "\0" not in text)
packets = st.builds(
    Packet,
    type=st.sampled_from([1, 2, 4, 8]),
    flags=st.integers(0, 0xFF).map(lambda flags: flags & ~FRAME_FLAGS),
    userid=words,
    rolemask=words,
    aux1=words,
    aux2=words,
    routes=st.none() | st.lists(st.text(min_size=1, max_size=300), max_size=4),
    topic=st.none() | texts,
    payload=st.none() | st.binary(max_size=600),
)


@pytest.mark.parametrize("entry", MESSAGES, ids=lambda entry: str(entry["name"]))
def test_a_message_of_the_c_library_is_written_byte_for_byte(entry: dict[str, Any]) -> None:
    assert wire.encode(packet_of(entry)).hex() == entry["hex"]


@pytest.mark.parametrize("entry", MESSAGES, ids=lambda entry: str(entry["name"]))
def test_a_message_of_the_c_library_is_read_field_by_field(entry: dict[str, Any]) -> None:
    assert wire.decode(bytes.fromhex(entry["hex"])) == packet_of(entry)


@pytest.mark.parametrize("entry", DECODES, ids=lambda entry: str(entry["name"]))
def test_a_hand_made_body_is_judged_as_the_c_library_judges_it(entry: dict[str, Any]) -> None:
    body = bytes.fromhex(entry["body_hex"])
    if not entry["ok"]:
        with pytest.raises(ProtocolError) as refused:
            wire.decode_body(body)
        assert refused.value.errno == entry["errno"]
        return
    packet = wire.decode_body(body)
    assert (packet.type, packet.topic, packet.payload) == (entry["type"], entry["topic"], payload_of(entry))
    assert (None if packet.routes is None else len(packet.routes)) == entry["route_count"]


def test_all_messages_arriving_at_once_are_read() -> None:
    assert Decoder().feed(STREAM) == PACKETS


def test_all_messages_arriving_byte_by_byte_are_read() -> None:
    decoder = Decoder()
    assert [packet for byte in STREAM for packet in decoder.feed(bytes([byte]))] == PACKETS


def test_two_messages_split_anywhere_are_read() -> None:
    for message in SHORT:
        stream = message + SHORT[0]
        expected = [wire.decode(message), wire.decode(SHORT[0])]
        for at in range(len(stream) + 1):
            decoder = Decoder()
            assert decoder.feed(stream[:at]) + decoder.feed(stream[at:]) == expected


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=30))
def test_the_stream_is_read_whatever_the_reads_hold(sizes: list[int]) -> None:
    decoder, read, at = Decoder(), [], 0
    while at < len(STREAM):
        for size in sizes:
            read += decoder.feed(STREAM[at : at + size])
            at += size
    assert read == PACKETS


@given(packets)
def test_every_packet_survives_a_round_trip(packet: Packet) -> None:
    read = wire.decode(wire.encode(packet))
    read.flags &= ~FRAME_FLAGS
    assert read == packet


@given(st.sampled_from(SHORT), st.data(), st.integers(0, 255))
def test_one_corrupt_byte_is_read_or_refused_but_never_crashes(message: bytes, data: st.DataObject, byte: int) -> None:
    at = data.draw(st.integers(0, len(message) - 1))
    with contextlib.suppress(ProtocolError):
        assert len(Decoder().feed(message[:at] + bytes([byte]) + message[at + 1 :])) <= 1


def test_one_missing_byte_is_read_or_refused_but_never_crashes() -> None:
    for message in SHORT:
        for at in range(len(message)):
            with contextlib.suppress(ProtocolError):
                assert wire.decode(message[:at] + message[at + 1 :]).type in (1, 2, 4, 8)
            with contextlib.suppress(ProtocolError):
                wire.decode_body(message[8:at] + message[max(8, at + 1) :])


def test_a_body_cut_short_anywhere_is_refused() -> None:
    for message in SHORT:
        for end in range(8, len(message)):
            with pytest.raises(ProtocolError):
                wire.decode_body(message[8:end])


def test_a_header_that_announces_four_gigabytes_is_refused_at_once() -> None:
    with pytest.raises(ProtocolError, match="message length") as refused:
        Decoder().feed(HEADER + b"\xff\xff\xff\xff")
    assert refused.value.errno == errno.EPROTO


def test_the_largest_message_is_the_one_that_was_set() -> None:
    message = wire.encode(Packet(1, payload=b"x" * 100))
    body = len(message) - 8
    assert Decoder(max_bytes=body).feed(message)
    with pytest.raises(ProtocolError, match=f"got {body}, want '1 to {body - 1}'"):
        Decoder(max_bytes=body - 1).feed(message)


def test_a_body_of_no_bytes_is_refused() -> None:
    with pytest.raises(ProtocolError) as in_stream:
        Decoder().feed(HEADER + bytes(4))
    with pytest.raises(ProtocolError) as alone:
        wire.decode_body(b"")
    assert in_stream.value.errno == alone.value.errno == errno.EPROTO


def test_another_stream_magic_is_refused() -> None:
    with pytest.raises(ProtocolError, match="stream magic") as refused:
        Decoder().feed(bytes.fromhex("ffee0012") + STREAM[4:])
    assert refused.value.errno == errno.EPROTO


def test_messages_before_a_fault_are_handed_over_with_it() -> None:
    with pytest.raises(ProtocolError) as refused:
        Decoder().feed(STREAM + b"not a message")
    assert refused.value.packets == PACKETS  # type: ignore[attr-defined]  # StreamError has it


@pytest.mark.parametrize("flags", [0, 0x08])
@pytest.mark.parametrize("frames", [b"\x01r" * 1_000_000 + b"\0", b"\0" * 1_000_000, b"\xff\0\0\0\1r" * 1100 + b"\0"])
def test_a_body_of_more_frames_than_any_message_has_is_refused_before_they_are_read(flags: int, frames: bytes) -> None:
    body = frames + b"\x14" + struct.pack(">BBBBIIII", 0x8E, 1, 1, flags, 0, 0, 0, 0)
    with pytest.raises(wire.ProtocolError, match="frames"):
        wire.decode_body(body)


@pytest.mark.parametrize("hop", [b"\x01r", b"\x24" + b"u" * 36], ids=["short", "uuid"])
def test_a_way_of_a_thousand_hops_is_still_read(hop: bytes) -> None:
    body = hop * 1000 + b"\0" + b"\x14" + struct.pack(">BBBBIIII", 0x8E, 1, 1, 0x08, 0, 0, 0, 0)
    assert len(wire.decode_body(body).routes or ()) == 1000


@pytest.mark.parametrize("framed", [b"", STREAM[:7], SHORT[0][:-1], SHORT[0] + b"\0", SHORT[0] * 2])
def test_decode_takes_exactly_one_message(framed: bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.decode(framed)


@pytest.mark.parametrize("field", ["flags", "userid", "rolemask"])
def test_a_number_too_large_for_the_wire_is_refused(field: str) -> None:
    packet = Packet(1)
    setattr(packet, field, 1 << 32)
    with pytest.raises(OverflowError, match="does not fit the wire"):
        wire.encode(packet)


def test_a_topic_that_is_no_text_comes_back_as_the_same_bytes() -> None:
    body = b"\x02\xff\xfe" + b"\x14" + struct.pack(">BBBBIIII", 0x8E, 1, 1, 0x01, 0, 0, 0, 0)
    assert wire.encode(wire.decode_body(body))[8:] == body


def test_a_response_carries_what_routes_it_back() -> None:
    asked = Packet(1, 0x40 | 0x80, routes=["b", "a"], topic="s.m", payload=b"{}\0", aux2=7)
    answer = wire.response_to(asked, errnum=61)
    assert (answer.type, answer.flags, answer.routes) == (2, 0x40 | 0x80, ["b", "a"])
    assert (answer.topic, answer.payload, answer.aux1, answer.aux2) == ("s.m", None, 61, 7)
