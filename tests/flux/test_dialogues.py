"""Handles say what the original's clients said, and make of the broker's recorded bytes what they mean.

The broker is played from the recording, over a socket for each connection. What is compared, and
what may differ, is told in tests/vectors/README.md. Tags may differ, too: ours are free again as soon as
the last answer is there.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import flux
from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_ROLE_NONE,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
    FLUX_USERID_UNKNOWN,
)
from flux.errors import named_error
from flux.message import Message
from tests.dialogues import DIALOGUES, packet_of
from tests.flux.conftest import Peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future as Act
    from pathlib import Path

    from flux.packet import Packet


@dataclass
class Call:
    """What was called for a request, and how to see what came of it. is_direct: by a method that waits."""

    act: Act[Any]
    result: Callable[[Packet], object]
    is_direct: bool = False


def text_of(packet: Packet) -> str | None:
    """The payload as the string it is, None if it is none."""
    payload = packet.payload
    if payload is None or payload.find(b"\0") != len(payload) - 1:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        return payload[:-1].decode()
    return None


def is_raw(packet: Packet) -> bool:
    return packet.payload is not None and text_of(packet) is None


def json_of(packet: Packet) -> Any:
    text = text_of(packet)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def is_of_the_c_library(packet: Packet) -> bool:
    """Whether a function of it made the payload, which is compact JSON then."""
    value = json_of(packet)
    return value is not None and text_of(packet) == json.dumps(value, separators=(",", ":"), ensure_ascii=False) != "{}"


def payload_to_pass(packet: Packet) -> Any:
    """What a program passes to have this payload: an object if Python would write it so, else text."""
    value = json_of(packet)
    return value if value is not None and json.dumps(value, ensure_ascii=False) == text_of(packet) else text_of(packet)


def without_variables(packet: Packet) -> Packet:
    """Without what two logs of one line, and two writers of one JSON, do differently."""
    if packet.topic == "log.append":
        header = re.fullmatch(rb"(<\d+>1 )\S+( \d+ )\S+ \d+( - - .*)", packet.payload or b"")
        assert header is not None
        return msgspec.structs.replace(packet, payload=b"".join(header.groups()))
    if json_of(packet) is not None:
        return msgspec.structs.replace(packet, payload=json.dumps(json_of(packet)).encode())
    return packet


def key_of(packet: Packet) -> tuple[str, ...]:
    """What a request and its answer have in common."""
    return (packet.topic or "", *(packet.routes or ()))


def hand_made(packet: Packet) -> Message:
    """The message made by its setters."""
    message = Message(packet.type)
    message.topic, message.flags, message.routes = packet.topic or "", packet.flags, packet.routes
    message.userid, message.rolemask = packet.userid, packet.rolemask
    message.raw_payload = packet.payload
    if packet.type != FLUX_MSGTYPE_EVENT:
        message.matchtag = packet.aux2
    return message


class Client:
    """A handle in a thread of its own, so that the test can play its broker meanwhile."""

    def __init__(self, path: Path, opened: contextlib.ExitStack) -> None:
        self._thread = opened.enter_context(ThreadPoolExecutor(1))
        self._peer = Peer(path)
        opened.callback(self._peer.close)  # first of all, so that the thread does not wait for ever
        self._opening = self._thread.submit(flux.Flux, self._peer.uri)
        self._calls: dict[int, Call] = {}  # by recorded tag
        self._tags: dict[int, int] = {}  # ours, by recorded tag
        self._requests: dict[tuple[str, ...], Message] = {}

    @property
    def _handle(self) -> flux.Flux:
        return self._opening.result()

    def be_welcomed(self, greeting: bytes) -> None:
        self._peer.welcome(greeting)
        if greeting != b"\0":
            error = self._opening.exception()
            assert isinstance(error, OSError)
            text = f"Unable to connect to Flux: {os.strerror(greeting[0])}"
            assert (error.errno, error.strerror) == (greeting[0], text)
            return
        assert self._handle.flags_get() == 0

    def hang_up(self) -> None:
        """Look that the handle had nothing more to say, and that what was not answered is not ready."""
        assert self._peer.has_been_sent_nothing()
        assert not any(call.act.result().is_ready() for call in self._calls.values() if not call.is_direct)
        self._thread.submit(self._handle.__exit__).result()
        assert self._peer.is_hung_up_on()

    def be_hung_up_on(self) -> None:
        self._peer.hang_up()

    # From the client to the broker

    def say(self, packet: Packet) -> None:
        """Call what makes the client send this message, and look that it does."""
        call = self._call(packet)
        frame = self._peer.read_frame()
        sent = wire.decode(frame)
        expected = packet
        if packet.aux2 and packet.type != FLUX_MSGTYPE_RESPONSE:
            assert sent.aux2 not in [self._tags[tag] for tag in self._calls]
            self._calls[packet.aux2], self._tags[packet.aux2] = call, sent.aux2
            expected = msgspec.structs.replace(packet, aux2=sent.aux2)
        if is_of_the_c_library(packet) or packet.topic == "log.append":
            assert without_variables(sent) == without_variables(expected)
        else:
            assert frame.hex() == wire.encode(expected).hex()
        if not call.is_direct:
            call.act.result()

    def _do(self, method: Callable[..., Any], *arguments: Any) -> Act[Any]:
        return self._thread.submit(method, *arguments)

    def _call(self, packet: Packet) -> Call:
        if packet.type == FLUX_MSGTYPE_RESPONSE:
            return Call(self._respond(packet), self._nothing)
        if packet.type == FLUX_MSGTYPE_EVENT:
            return Call(self._send_event(packet), self._nothing)
        if is_raw(packet):
            return self._request(packet)
        return self._method_call(packet) or self._rpc(packet)

    def _nothing(self, _answer: Packet) -> object:
        raise AssertionError("nobody answers this")

    def _respond(self, packet: Packet) -> Act[Any]:
        asked = self._requests[key_of(packet)]
        if packet.aux1:
            return self._do(self._handle.respond_error, asked, packet.aux1, text_of(packet))
        if is_raw(packet):
            return self._do(self._handle.send, hand_made(packet))
        return self._do(self._handle.respond, asked, payload_to_pass(packet))

    def _send_event(self, packet: Packet) -> Act[Any]:
        if (packet.userid, packet.rolemask) != (FLUX_USERID_UNKNOWN, FLUX_ROLE_NONE):
            return self._do(self._handle.send, hand_made(packet))
        payload = payload_to_pass(packet) or (packet.payload and packet.payload[:-1])
        return self._do(self._handle.event_send, packet.topic, payload)

    def _request(self, packet: Packet) -> Call:
        """Without a future; the answer can be received by its tag. A record of the log is such a request, too."""
        if packet.topic == "log.append":
            (found,) = re.finditer(rb"<(\d+)>.* - - (.*)", packet.payload or b"")
            return Call(self._do(self._handle.log, int(found[1]) // 8, found[2]), self._nothing)

        def receive(answer: Packet) -> object:
            got = self._do(self._handle.recv, FLUX_MSGTYPE_RESPONSE, answer.aux2).result()
            assert got.packet == answer
            return None

        return Call(self._do(self._handle.send, hand_made(packet)), receive)

    def _method_call(self, packet: Packet) -> Call | None:
        """By the handle's own method, if the original's client had used its C library's."""
        handle, asked = self._handle, json_of(packet)
        if packet.topic == "event.publish":
            text = base64.b64decode(asked["payload"])[:-1] if "payload" in asked else None
            act = self._do(handle.event_publish, asked["topic"], asked["flags"], text)
            return Call(act, lambda answer: self._take(act.result(), answer))
        if packet.topic == "config.get":
            return self._direct(self._do(handle.conf_get, None, None, True), json_of)
        if not is_of_the_c_library(packet):
            return None
        if packet.topic in ("event.subscribe", "event.unsubscribe"):
            method = getattr(handle, packet.topic.replace(".", "_"))
            return self._direct(self._do(method, asked["topic"]), lambda _: 0)
        if packet.topic in ("service.add", "service.remove"):
            is_new = packet.topic == "service.add"
            act = self._do(handle.service_register if is_new else handle.service_unregister, asked["service"])
            return Call(act, lambda answer: self._take(act.result(), answer))
        if packet.topic == "attr.get":
            return self._direct(self._do(handle.attr_get, asked["name"]), lambda answer: json_of(answer)["value"])
        if packet.topic == "attr.set":
            return self._direct(self._do(handle.attr_set, asked["name"], asked["value"]), lambda _: None)
        return None

    def _direct(self, act: Act[Any], value_of: Callable[[Packet], object]) -> Call:
        def check(answer: Packet) -> object:
            if not answer.aux1:
                assert act.result() == value_of(answer)
                return None
            error = act.exception()
            assert isinstance(error, OSError)
            assert (error.errno, error.strerror) == (answer.aux1, named_error(answer.aux1).strerror)
            return None

        return Call(act, check, is_direct=True)

    def _rpc(self, packet: Packet) -> Call:
        flags = FLUX_RPC_STREAMING if packet.flags & FLUX_MSGFLAG_STREAMING else 0
        flags |= FLUX_RPC_NORESPONSE if packet.flags & FLUX_MSGFLAG_NORESPONSE else 0
        act = self._do(self._handle.rpc, packet.topic, payload_to_pass(packet), packet.aux1, flags)
        return Call(act, lambda answer: self._take(act.result(), answer))

    def _take(self, rpc: flux.RPC, answer: Packet) -> None:
        """Look that the future has this result, and go on to its next."""
        if answer.aux1:
            error = self._do(rpc.get).exception()
            assert isinstance(error, OSError)
            assert (error.errno, error.strerror) == (answer.aux1, text_of(answer) or os.strerror(answer.aux1))
            assert rpc.error_string() == error.strerror
        else:
            assert self._do(rpc.get_str).result() == text_of(answer)
            assert rpc.error_string() is None
            if json_of(answer) is not None or answer.payload is None:
                assert self._do(rpc.get).result() == json_of(answer)
        if answer.flags & FLUX_MSGFLAG_STREAMING:
            rpc.reset()
            assert not rpc.is_ready()
            if answer.aux1:
                ended = self._do(rpc.get).exception()
                assert isinstance(ended, OSError)
                assert ended.errno == errno.EDEADLK

    # From the broker to the client

    def hear(self, packet: Packet) -> None:
        """Send what the broker sent, and look that the handle has it."""
        is_answer = packet.type == FLUX_MSGTYPE_RESPONSE and not packet.routes
        call = self._calls.get(packet.aux2) if is_answer else None
        if call is None:
            self._peer.send(packet)
            self._receive(packet)
            return
        answer = msgspec.structs.replace(packet, aux2=self._tags[packet.aux2])
        self._peer.send(answer)
        call.result(answer)
        if packet.aux1 or not packet.flags & FLUX_MSGFLAG_STREAMING:
            del self._calls[packet.aux2]

    def _receive(self, packet: Packet) -> None:
        message = self._do(self._handle.recv).result()
        assert message.packet == packet
        self._requests.setdefault(key_of(packet), message)


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_recorded_dialogue_goes_the_same_way_with_our_handle(tmp_path: Path, name: str) -> None:
    with contextlib.ExitStack() as opened:
        clients: dict[int, Client] = {}
        for step in DIALOGUES[name]["steps"]:
            conn, direction = step["conn"], step["dir"]
            if direction == "connect":
                clients[conn] = Client(tmp_path / str(conn), opened)
            elif step.get("kind") == "handshake":
                clients[conn].be_welcomed(bytes.fromhex(step["hex"]))
            elif direction == "C>S":
                clients[conn].say(packet_of(step))
            elif direction == "S>C":
                clients[conn].hear(packet_of(step))
            elif direction == "client-close":
                clients[conn].hang_up()
            else:
                clients[conn].be_hung_up_on()
