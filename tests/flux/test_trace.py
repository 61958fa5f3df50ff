"""What a traced handle prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import flux
from flux import packet as wire
from flux.connectors.trace import describe
from flux.constants import FLUX_MSGFLAG_STREAMING, FLUX_MSGTYPE_CONTROL, FLUX_O_TRACE
from flux.packet import Packet
from tests.flux.vectors import PACKETS

if TYPE_CHECKING:
    from pathlib import Path


def described(packet: Packet, seconds: float = 0.0) -> list[str]:
    """The lines of a message that has been on the wire."""
    return describe(wire.decode(wire.encode(packet)), seconds).splitlines()


def test_a_request_is_shown_with_all_its_parts() -> None:
    request = wire.request("s.m", b'{"a":1}\0', matchtag=1, flags=FLUX_MSGFLAG_STREAMING)
    request.rolemask, request.routes = 5, ["0123456789ab", "fedcba987654"]
    assert described(request, 0.000352) == [
        "--------------------------------------",
        "> 0.00035",
        "> s.m",
        "> flags=topic,payload,route,streaming userid=unknown rolemask=owner,local nodeid=any matchtag=1",
        "> |01234567!fedcba98|",
        '> {"a":1}',
    ]


def test_each_type_has_its_sign_and_its_own_fields() -> None:
    response = wire.response_to(wire.request("s.m", None, matchtag=7), errnum=2)
    event = wire.event("e")
    event.aux1, event.userid = 3, 17
    assert described(response)[3] == "< flags=topic,route userid=unknown rolemask=none errnum=2 matchtag=7"
    assert described(event)[3] == "e flags=topic,route userid=17 rolemask=none sequence=3"
    control = Packet(FLUX_MSGTYPE_CONTROL, aux1=1, aux2=2)
    assert described(control)[2] == "c flags=none userid=unknown rolemask=none type=1 status=2"


def test_a_raw_payload_is_shown_in_hex_up_to_78_columns() -> None:
    assert described(wire.event("e", b"\x01\xff"))[-1] == "e 01ff"
    assert described(wire.event("e", b"\xab" * 39))[-1] == "e " + "ab" * 39
    assert described(wire.event("e", b"\xab" * 40))[-1] == "e " + "ab" * 37 + "a..."


def test_every_recorded_message_can_be_shown() -> None:
    for packet in PACKETS:
        lines = described(packet)
        assert len({line[0] for line in lines[1:]} & set("><ec")) == 1


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_traced_handle_prints_what_passes(
    by_flag: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_flag:
        monkeypatch.setenv("FLUX_HANDLE_TRACE", "")
    with flux.Flux("loop://", FLUX_O_TRACE if by_flag else 0) as handle:
        handle.event_send("a", "text")
        handle.recv()
        handle.reconnect()
        handle.event_send("b")
    shown = capsys.readouterr().err
    assert re.findall(r"^e ([ab]|text)$", shown, re.M) == ["a", "text", "a", "text", "b"]
    assert re.search(r"^e 0\.00000$", shown, re.M)


def test_a_handle_that_is_not_traced_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with flux.Flux("loop://") as handle:
        handle.event_send("a")
        handle.recv()
    assert capsys.readouterr().err == ""


def test_a_trace_that_cannot_be_printed_harms_no_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "closed").open("w") as closed:
        pass
    monkeypatch.setattr("sys.stderr", closed)
    with flux.Flux("loop://", FLUX_O_TRACE) as handle:
        handle.event_send("e")
        assert handle.recv().topic == "e"
