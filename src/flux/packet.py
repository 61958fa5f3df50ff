# SPDX-License-Identifier: Apache-2.0
"""The wire form of a message: bytes in, packets out, no I/O (RFC 3; docs/protocol.md, "Frames").

A packet is one message as it stands on the wire, its fields unchecked and unconverted: what the
broker and the protocol state machine work with. `flux.message.Message` is the same thing for
people, with checked properties.

On a stream each message is ``12 00 ee ff``, the body length as a 32-bit big-endian number (the
8 header bytes not counted), then the body: route frames and an empty delimiter, topic, payload,
and last a PROTO frame of 20 bytes.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from flux.constants import (
    FLUX_MSGFLAG_PAYLOAD,
    FLUX_MSGFLAG_ROUTE,
    FLUX_MSGFLAG_TOPIC,
    FLUX_MSGTYPE_CONTROL,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
    FLUX_ROLE_NONE,
    FLUX_USERID_UNKNOWN,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "HEADER_SIZE",
    "MAX_MESSAGE_BYTES",
    "Decoder",
    "Packet",
    "ProtocolError",
    "StreamError",
    "decode",
    "decode_body",
    "encode",
    "event",
    "request",
    "response_to",
]

Buffer: TypeAlias = "bytes | memoryview"

_HEADER = struct.Struct(">II")
_PROTO = struct.Struct(">HBBIIII")
_PROTO_FRAME = struct.Struct(">BHBBIIII")
_LENGTH = struct.Struct(">I")
_STREAM_MAGIC = 0x1200EEFF  # the host-order word 0xffee0012 of a little-endian machine
_PROTO_MAGIC = 0x8E01  # magic 0x8e, version 1
_PROTO_SIZE = _PROTO.size
_LONG = 255  # lengths from here on take the escape byte and four bytes
_SHORT_LENGTHS = [bytes([size]) for size in range(_LONG)]
_TYPES = frozenset((FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE, FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_CONTROL))
_FRAME_FLAGS = FLUX_MSGFLAG_TOPIC | FLUX_MSGFLAG_PAYLOAD | FLUX_MSGFLAG_ROUTE
_WORD = 0xFFFFFFFF

HEADER_SIZE = _HEADER.size
MAX_MESSAGE_BYTES = 1 << 30
"""Default cap on one message body. The C library has none, so a header that lies about its length
is waited for; one GiB is far above any real message and still a bound."""


class ProtocolError(OSError):
    """The peer sent what the protocol forbids: close the connection, a retry cannot help.

    errno is EINVAL when frame lengths do not fit the body and EPROTO for everything else, as the
    C decoder has it. Attributes: what (the part at fault), got, want.
    """

    def __init__(self, errnum: int, what: str, *, got: object, want: object) -> None:
        super().__init__(errnum, f"{what}: got {got!r}, want {want!r}")
        self.what, self.got, self.want = what, got, want


class Packet(msgspec.Struct):
    """One message, field by field.

    aux1 is nodeid (request), errnum (response), sequence (event) or control type; aux2 is the
    matchtag, or the control status. routes is in wire order, so the first element was pushed last;
    None means no route stack at all, an empty list means the delimiter only. The flags for topic,
    payload and routes follow from the fields when the packet is encoded.
    """

    type: int
    flags: int = 0
    userid: int = FLUX_USERID_UNKNOWN
    rolemask: int = FLUX_ROLE_NONE
    aux1: int = 0
    aux2: int = 0
    routes: list[str] | None = None
    topic: str | None = None
    payload: bytes | None = None


def request(
    topic: str, payload: bytes | None, *, matchtag: int, nodeid: int = FLUX_NODEID_ANY, flags: int = 0
) -> Packet:
    """A request as a client sends it: an empty route stack, credentials left to the broker."""
    return Packet(
        FLUX_MSGTYPE_REQUEST, flags, FLUX_USERID_UNKNOWN, FLUX_ROLE_NONE, nodeid, matchtag, [], topic, payload
    )


def response_to(asked: Packet, payload: bytes | None = None, errnum: int = 0) -> Packet:
    """The answer to a request: its flags, topic, matchtag and whole route stack, credentials left to the broker."""
    return Packet(
        FLUX_MSGTYPE_RESPONSE,
        asked.flags,
        FLUX_USERID_UNKNOWN,
        FLUX_ROLE_NONE,
        errnum,
        asked.aux2,
        asked.routes,
        asked.topic,
        payload,
    )


def event(topic: str, payload: bytes | None = None, flags: int = 0) -> Packet:
    """An event as a publisher sends it; the broker gives it its sequence number."""
    return Packet(FLUX_MSGTYPE_EVENT, flags, FLUX_USERID_UNKNOWN, FLUX_ROLE_NONE, 0, 0, [], topic, payload)


def encode(packet: Packet) -> bytes:
    """The complete framed message. Raises OverflowError if a field does not fit its 32 bits."""
    flags = packet.flags & ~_FRAME_FLAGS
    parts = [b""]
    routes, topic, payload = packet.routes, packet.topic, packet.payload
    if routes is not None:
        flags |= FLUX_MSGFLAG_ROUTE
        for route in routes:
            _append_frame(parts, route.encode("utf-8", "surrogateescape"))
        parts.append(b"\0")
    if topic is not None:
        flags |= FLUX_MSGFLAG_TOPIC
        _append_frame(parts, topic.encode("utf-8", "surrogateescape"))
    if payload is not None:
        flags |= FLUX_MSGFLAG_PAYLOAD
        _append_frame(parts, payload)
    aux1, aux2 = packet.aux1 & _WORD, packet.aux2 & _WORD
    try:
        parts.append(
            _PROTO_FRAME.pack(_PROTO_SIZE, _PROTO_MAGIC, packet.type, flags, packet.userid, packet.rolemask, aux1, aux2)
        )
        parts[0] = _HEADER.pack(_STREAM_MAGIC, sum(map(len, parts)))
    except struct.error as error:
        raise OverflowError(f"a field does not fit the wire: {packet!r}: {error}") from None
    return b"".join(parts)


def _append_frame(parts: list[bytes], data: bytes) -> None:
    size = len(data)
    if size < _LONG:
        parts.append(_SHORT_LENGTHS[size])
    else:
        parts.append(b"\xff" + _LENGTH.pack(size))
    parts.append(data)


def decode(framed: bytes) -> Packet:
    """Decode exactly one framed message: the inverse of `encode`. Raises ProtocolError, and nothing else."""
    if len(framed) < HEADER_SIZE:
        raise ProtocolError(errno.EPROTO, "message header", got=f"{len(framed)} bytes", want=f"{HEADER_SIZE} bytes")
    length = _body_length(framed, 0, MAX_MESSAGE_BYTES)
    if length != len(framed) - HEADER_SIZE:
        raise ProtocolError(errno.EPROTO, "message length", got=length, want=len(framed) - HEADER_SIZE)
    return decode_body(framed, HEADER_SIZE)


def _body_length(data: Buffer, at: int, max_bytes: int) -> int:
    magic, length = _HEADER.unpack_from(data, at)
    if magic != _STREAM_MAGIC:
        raise ProtocolError(errno.EPROTO, "stream magic", got=hex(magic), want=hex(_STREAM_MAGIC))
    if not 0 < length <= max_bytes:
        raise ProtocolError(errno.EPROTO, "message length", got=length, want=f"1 to {max_bytes}")
    assert isinstance(length, int)
    return length


def decode_body(body: Buffer, start: int = 0, end: int | None = None) -> Packet:
    """Decode one message body, body[start:end].

    The packet owns copies of all it holds. Raises ProtocolError, and nothing else, whatever the bytes.
    The usual shape is read in one walk; anything unusual goes to the general reader, which judges it.
    """
    if end is None:
        end = len(body)
    last = end - _PROTO_SIZE - 1
    if last < start or body[last] != _PROTO_SIZE:
        return _decode_unusual(body, start, end)
    magic, kind, flags, userid, rolemask, aux1, aux2 = _PROTO.unpack_from(body, last + 1)
    if magic != _PROTO_MAGIC or kind not in _TYPES:
        return _decode_unusual(body, start, end)
    at = start
    routes: list[str] | None = None
    topic: str | None = None
    payload: bytes | None = None
    if flags & FLUX_MSGFLAG_ROUTE:
        routes = []
        while at < last:
            size = body[at]
            if size == 0 or size == _LONG:
                break
            routes.append(str(body[at + 1 : at + 1 + size], "utf-8", "surrogateescape"))
            at += 1 + size
        if at >= last or body[at] != 0:
            return _decode_unusual(body, start, end)
        at += 1
    if flags & FLUX_MSGFLAG_TOPIC:
        size = body[at]
        if at >= last or size == _LONG:
            return _decode_unusual(body, start, end)
        topic = _text(body, at + 1, at + 1 + size)
        at += 1 + size
    if flags & FLUX_MSGFLAG_PAYLOAD:
        if at >= last:
            return _decode_unusual(body, start, end)
        size = body[at]
        at += 1
        if size == _LONG:
            size = _LENGTH.unpack_from(body, at)[0]
            at += 4
        payload = bytes(body[at : at + size])
        at += size
    if at != last:
        return _decode_unusual(body, start, end)
    return Packet(kind, flags, userid, rolemask, aux1, aux2, routes, topic, payload)


def _text(body: Buffer, start: int, end: int) -> str:
    """A topic; the C library ends it at the first NUL."""
    text = str(body[start:end], "utf-8", "surrogateescape")
    return text if "\0" not in text else text[: text.index("\0")]


def _decode_unusual(body: Buffer, start: int, end: int) -> Packet:
    """Read a body frame by frame: the rules of spec and C decoder in full, without haste.

    The frames are walked twice and never listed: a body of a million empty frames costs no memory.
    """
    low, high, rest = start, start, -1
    for next_low, next_high in _frames(body, start, end):
        low, high, rest = next_low, next_high, high
    if rest < 0:
        raise ProtocolError(errno.EPROTO, "message body", got="nothing", want="at least a PROTO frame")
    if high - low != _PROTO_SIZE:
        raise ProtocolError(errno.EPROTO, "PROTO frame size", got=high - low, want=_PROTO_SIZE)
    magic, kind, flags, userid, rolemask, aux1, aux2 = _PROTO.unpack_from(body, low)
    if magic != _PROTO_MAGIC:
        raise ProtocolError(errno.EPROTO, "PROTO magic and version", got=hex(magic), want=hex(_PROTO_MAGIC))
    if kind not in _TYPES:
        raise ProtocolError(errno.EPROTO, "message type", got=kind, want=sorted(_TYPES))
    packet = Packet(kind, flags, userid, rolemask, aux1, aux2)
    frames = _frames(body, start, rest)
    if flags & FLUX_MSGFLAG_ROUTE:
        packet.routes = []
        while True:
            low, high = _next_frame(frames, "route delimiter")
            if low == high:
                break
            packet.routes.append(str(body[low:high], "utf-8", "surrogateescape"))
    if flags & FLUX_MSGFLAG_TOPIC:
        packet.topic = _text(body, *_next_frame(frames, "topic frame"))
    if flags & FLUX_MSGFLAG_PAYLOAD:
        low, high = _next_frame(frames, "payload frame")
        packet.payload = bytes(body[low:high])
    return packet


def _next_frame(frames: Iterator[tuple[int, int]], what: str) -> tuple[int, int]:
    for frame in frames:
        return frame
    raise ProtocolError(errno.EPROTO, what, got="no frame", want="a frame before PROTO, as the flags say")


def _frames(body: Buffer, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each frame's data. Frames that run past the body are EINVAL."""
    at = start
    while at < end:
        size = body[at]
        at += 1
        if size == _LONG:
            if at + 4 > end:
                raise ProtocolError(errno.EINVAL, "frame length", got=f"{end - at} bytes", want="4 bytes")
            size = _LENGTH.unpack_from(body, at)[0]
            at += 4
        if at + size > end:
            raise ProtocolError(errno.EINVAL, "frame length", got=size, want=f"at most {end - at}")
        yield at, at + size
        at += size


class Decoder:
    """Cuts a byte stream into packets. Feed it what arrives, split anywhere.

    Holds at most one incomplete message, so at most max_bytes and one read. After it has raised, the
    stream has lost its place: close the connection. Not thread-safe.
    """

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._wanted = HEADER_SIZE

    def feed(self, data: Buffer) -> list[Packet]:
        """The packets that data completes, in order.

        Raises StreamError, a ProtocolError that has the packets completed before the fault in the same
        read: whoever sent them may rely on them having been sent.
        """
        if not self._kept:
            packets, used = self._take(data)
            if used < len(data):
                self._kept += data[used:] if used else data
            return packets
        self._kept += data
        if len(self._kept) < self._wanted:
            return []
        with memoryview(self._kept) as view:
            packets, used = self._take(view)
        del self._kept[:used]
        return packets

    def _take(self, data: Buffer) -> tuple[list[Packet], int]:
        packets: list[Packet] = []
        at, size = 0, len(data)
        try:
            while size - at >= HEADER_SIZE:
                body_end = at + HEADER_SIZE + _body_length(data, at, self._max_bytes)
                if body_end > size:
                    self._wanted = body_end - at
                    return packets, at
                packets.append(decode_body(data, at + HEADER_SIZE, body_end))
                at = body_end
        except ProtocolError as error:
            raise StreamError(error, packets) from None
        self._wanted = HEADER_SIZE
        return packets, at


class StreamError(ProtocolError):
    """A ProtocolError in the middle of a read. Attribute packets: the whole messages that came before it."""

    def __init__(self, cause: ProtocolError, packets: list[Packet]) -> None:
        super().__init__(cause.errno or errno.EPROTO, cause.what, got=cause.got, want=cause.want)
        self.packets = packets
