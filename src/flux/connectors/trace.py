# SPDX-License-Identifier: Apache-2.0
"""Messages in a form to look at, and a stream that shows those that pass (FLUX_O_TRACE, FLUX_HANDLE_TRACE)."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_PAYLOAD,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGFLAG_ROUTE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_TOPIC,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_MSGFLAG_USER1,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
    FLUX_NODEID_UPSTREAM,
    FLUX_ROLE_ADMIN,
    FLUX_ROLE_LOCAL,
    FLUX_ROLE_OWNER,
    FLUX_ROLE_USER,
    FLUX_USERID_UNKNOWN,
)
from flux.packet import Decoder, Packet, StreamError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from flux.connectors.transport import Stream

__all__ = ["TracedStream", "describe"]

_RULE = "-" * 38
_HEX_COLUMNS = 78
_ID_CHARACTERS = 8
_SIGNS = {FLUX_MSGTYPE_REQUEST: ">", FLUX_MSGTYPE_RESPONSE: "<", FLUX_MSGTYPE_EVENT: "e"}
_FLAGS = {
    FLUX_MSGFLAG_TOPIC: "topic",
    FLUX_MSGFLAG_PAYLOAD: "payload",
    FLUX_MSGFLAG_NORESPONSE: "noresponse",
    FLUX_MSGFLAG_ROUTE: "route",
    FLUX_MSGFLAG_UPSTREAM: "upstream",
    FLUX_MSGFLAG_PRIVATE: "private",
    FLUX_MSGFLAG_STREAMING: "streaming",
    FLUX_MSGFLAG_USER1: "user1",
}
_ROLES = {FLUX_ROLE_OWNER: "owner", FLUX_ROLE_USER: "user", FLUX_ROLE_LOCAL: "local", FLUX_ROLE_ADMIN: "admin"}
_NODES = {FLUX_NODEID_ANY: "any", FLUX_NODEID_UPSTREAM: "upstream"}


def describe(packet: Packet, seconds: float) -> str:
    """The lines of one message as flux-core traces it; seconds: since the first one.

    packet: as decoded, so that its flags tell which frames it has.
    """
    sign = _SIGNS.get(packet.type, "c")
    lines = [f"{seconds:.5f}"]
    if packet.topic is not None:
        lines.append(packet.topic)
    lines.append(_proto(packet))
    if packet.routes:
        lines.append(f"|{'!'.join(route[:_ID_CHARACTERS] for route in packet.routes)}|")
    if packet.payload is not None:
        lines.append(_payload(packet.payload))
    return "".join(f"{line}\n" for line in (_RULE, *(f"{sign} {line}" for line in lines)))


def _proto(packet: Packet) -> str:
    userid = "unknown" if packet.userid == FLUX_USERID_UNKNOWN else packet.userid
    common = f"flags={_names(packet.flags, _FLAGS)} userid={userid} rolemask={_names(packet.rolemask, _ROLES)}"
    if packet.type == FLUX_MSGTYPE_REQUEST:
        return f"{common} nodeid={_NODES.get(packet.aux1, packet.aux1)} matchtag={packet.aux2}"
    if packet.type == FLUX_MSGTYPE_RESPONSE:
        return f"{common} errnum={packet.aux1} matchtag={packet.aux2}"
    if packet.type == FLUX_MSGTYPE_EVENT:
        return f"{common} sequence={packet.aux1}"
    return f"{common} type={packet.aux1} status={packet.aux2}"


def _names(bits: int, names: dict[int, str]) -> str:
    unnamed = bits & ~sum(names)
    found = [name for bit, name in names.items() if bits & bit]
    return ",".join([*found, hex(unnamed)] if unnamed else found) or "none"


def _payload(payload: bytes) -> str:
    """The text of a payload that ends in a NUL, else its first bytes in hex."""
    if payload.endswith(b"\0"):
        return payload[: payload.index(b"\0")].decode("utf-8", "backslashreplace")
    digits = payload.hex()
    return digits if len(digits) <= _HEX_COLUMNS else digits[: _HEX_COLUMNS - 3] + "..."


class TracedStream:
    """A stream that prints to stderr each message that has passed, in either direction."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._sent, self._received = Decoder(), Decoder()
        self._first: float | None = None

    def fileno(self) -> int:
        """That of the stream."""
        return self._stream.fileno()

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """See Stream."""
        count = self._stream.send(data, flags)
        self._show(self._sent, bytes(data)[:count])
        return count

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """See Stream."""
        data = self._stream.recv(size, flags)
        self._show(self._received, data)
        return data

    def shutdown(self, how: int, /) -> None:
        """See Stream."""
        self._stream.shutdown(how)

    def close(self) -> None:
        """See Stream."""
        self._stream.close()

    def _show(self, decoder: Decoder, data: bytes) -> None:
        try:
            packets = decoder.feed(data)
        except StreamError as error:  # whoever reads the stream finds it too, and reports it
            packets = error.packets
        for packet in packets:
            now = time.monotonic()
            self._first = now if self._first is None else self._first
            with contextlib.suppress(OSError, ValueError):  # stderr is closed or full; the message has passed
                sys.stderr.write(describe(packet, now - self._first))
