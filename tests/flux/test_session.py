from __future__ import annotations

import errno

import pytest

from flux import packet as wire
from flux.packet import Decoder, Packet, ProtocolError
from flux.session import Session
from tests.flux.vectors import load, packet_of

STREAMING = 0x40


class Recorder:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.responses: list[Packet] = []
        self.lost: list[OSError] = []

    def on_response(self, response: Packet) -> None:
        self.responses.append(response)

    def on_lost(self, error: OSError) -> None:
        self.lost.append(error)


def sent_by(session: Session) -> list[Packet]:
    return Decoder().feed(session.bytes_to_send())


def answer(tag: int, *, errnum: int = 0, flags: int = 0, routes: list[str] | None = None) -> bytes:
    return wire.encode(Packet(2, flags, aux1=errnum, aux2=tag, routes=routes or [], topic="s.m"))


def test_requests_leave_in_order_with_rising_tags() -> None:
    session = Session()
    tags = [session.request(f"s.{n}", b"x\0", Recorder(), nodeid=n) for n in range(3)]
    assert tags == [1, 2, 3]
    sent = sent_by(session)
    assert [(packet.topic, packet.aux1, packet.aux2, packet.routes) for packet in sent] == [
        ("s.0", 0, 1, []),
        ("s.1", 1, 2, []),
        ("s.2", 2, 3, []),
    ]
    assert session.bytes_to_send() == b""


def test_an_answer_goes_to_the_one_who_asked() -> None:
    session, first, second = Session(), Recorder(), Recorder()
    session.request("s.m", None, first)
    tag = session.request("s.m", None, second)
    session.receive(answer(tag))
    assert not first.responses
    assert [response.aux2 for response in second.responses] == [tag]


def test_a_tag_is_free_again_after_its_answer() -> None:
    session = Session()
    tag = session.request("s.m", None, Recorder())
    session.receive(answer(tag))
    assert session.request("s.m", None, Recorder()) == tag


def test_a_stream_keeps_its_tag_until_the_error_that_ends_it() -> None:
    session, stream = Session(), Recorder()
    tag = session.request("s.m", None, stream, flags=STREAMING)
    session.receive(answer(tag, flags=STREAMING) * 2)
    assert session.request("s.m", None, Recorder()) != tag
    session.receive(answer(tag, flags=STREAMING, errnum=errno.ENODATA))
    assert [response.aux1 for response in stream.responses] == [0, 0, errno.ENODATA]
    assert session.request("s.m", None, Recorder()) == tag


def test_a_second_answer_to_a_plain_request_is_a_stray() -> None:
    session, asker = Session(), Recorder()
    tag = session.request("s.m", None, asker)
    session.receive(answer(tag) * 2)
    assert len(asker.responses) == 1
    assert [packet.aux2 for packet in session.inbox] == [tag]


def test_a_response_with_routes_answers_no_request_of_ours() -> None:
    session, asker = Session(), Recorder()
    tag = session.request("s.m", None, asker)
    session.receive(answer(tag, routes=["somebody"]))
    assert not asker.responses
    assert len(session.inbox) == 1


def test_the_tag_of_an_abandoned_request_waits_for_its_answer() -> None:
    session = Session()
    tag = session.request("s.m", None, Recorder())
    session.abandon(tag)
    assert session.request("s.m", None, Recorder()) == tag + 1
    session.receive(answer(tag))
    assert session.request("s.m", None, Recorder()) == tag
    assert not session.inbox


def test_a_request_that_wants_no_answer_takes_no_tag() -> None:
    session = Session()
    assert session.request("s.m", None, None) == 0
    (sent,) = sent_by(session)
    assert (sent.aux2, sent.flags & 0x04) == (0, 0x04)


def test_a_request_that_cannot_be_encoded_takes_no_tag() -> None:
    session = Session()
    with pytest.raises(OverflowError):
        session.request("s.m", None, Recorder(), flags=1 << 40)
    assert session.request("s.m", None, Recorder()) == 1


def test_everything_else_waits_in_the_order_of_arrival() -> None:
    session = Session()
    packets = [wire.event("e.1"), wire.request("s.m", None, matchtag=4), wire.event("e.2")]
    session.receive(b"".join(map(wire.encode, packets)))
    assert [packet.topic for packet in session.inbox] == ["e.1", "s.m", "e.2"]


def test_a_lost_connection_is_told_to_all_who_wait_once() -> None:
    session, asker = Session(), Recorder()
    tag = session.request("s.m", None, asker)
    error = ConnectionResetError(errno.ECONNRESET, "gone")
    session.lose(error)
    session.lose(OSError(errno.EIO, "later"))
    assert asker.lost == [error]
    assert session.lost is error
    with pytest.raises(BrokenPipeError, match="EPIPE: Broken pipe"):
        session.request("s.m", None, asker)
    with pytest.raises(BrokenPipeError):
        session.send(wire.event("e"))
    session.abandon(tag)
    assert session.bytes_to_send() == b""


def test_what_came_before_a_broken_message_is_delivered() -> None:
    session, asker = Session(), Recorder()
    tag = session.request("s.m", None, asker)
    with pytest.raises(ProtocolError):
        session.receive(answer(tag) + b"garbage!")
    assert len(asker.responses) == 1


@pytest.mark.parametrize("name", ["attr-get-rank", "matchtags", "service-streaming", "event-publish-rpc", "cancel"])
def test_the_answers_of_a_recorded_session_find_their_askers(name: str) -> None:
    """Requests are made again from the recording, then the recorded answers arrive."""
    (dialogue,) = (entry for entry in load("sessions.json") if entry["name"] == name)
    sessions = [Session() for _ in range(dialogue["connections"])]
    asked: dict[tuple[int, int], Recorder] = {}
    expected: dict[tuple[int, int], int] = {}
    for step in dialogue["steps"]:
        if step.get("kind") not in ("request", "response"):
            continue
        packet = packet_of(step | {"type": 1 if step["kind"] == "request" else 2})
        session, key = sessions[step["conn"]], (step["conn"], packet.aux2)
        if step["dir"] == "C>S" and packet.type == 1 and packet.aux2:
            asker = asked[key] = Recorder()
            expected[key] = 0
            tag = session.request(packet.topic or "", packet.payload, asker, nodeid=packet.aux1, flags=packet.flags)
            assert tag == packet.aux2
            assert session.bytes_to_send().hex() == step["hex"]
        elif step["dir"] == "S>C" and packet.type == 2:
            session.receive(bytes.fromhex(step["hex"]))
            expected[key] += 1
    assert expected
    assert {key: len(asker.responses) for key, asker in asked.items()} == expected
