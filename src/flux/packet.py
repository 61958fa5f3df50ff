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
import functools
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
    from collections.abc import Generator, Iterator

__all__ = [
    "HEADER_SIZE",
    "MAX_MESSAGE_BYTES",
    "Cutter",
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

HEADER = struct.Struct(">II")
_PROTO = struct.Struct(">HBBIIII")
_PROTO_FRAME = struct.Struct(">BHBBIIII")  # with its length
FRAME_LENGTH = struct.Struct(">I")
STREAM_MAGIC = 0x1200EEFF  # the host-order word 0xffee0012 of a little-endian machine
PROTO_MAGIC = 0x8E01  # magic 0x8e, version 1
_PROTO_SIZE = _PROTO.size
_LONG = 255  # lengths from here on take the escape byte and four bytes
_SHORT_LENGTHS = [bytes([size]) for size in range(_LONG)]
_TYPES = frozenset((FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE, FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_CONTROL))
_FRAMES_MAX = 1024  # a message has three, and one for each hop that it took
_FRAME_FLAGS = FLUX_MSGFLAG_TOPIC | FLUX_MSGFLAG_PAYLOAD | FLUX_MSGFLAG_ROUTE
_WORD = 0xFFFFFFFF

HEADER_SIZE = HEADER.size
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


class Packet(msgspec.Struct, gc=False):  # it holds nothing that could lead back to it
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
    routes, topic, payload = packet.routes, packet.topic, packet.payload
    front = tail = b""
    if routes is not None:
        flags |= FLUX_MSGFLAG_ROUTE
        front = b"".join([*map(_text_frame, routes), b"\0"]) if routes else b"\0"
    if topic is not None:
        flags |= FLUX_MSGFLAG_TOPIC
        front += _text_frame(topic)
    if payload is not None:
        flags |= FLUX_MSGFLAG_PAYLOAD
        front += _length(len(payload))
        tail = payload
    try:
        proto = _PROTO_FRAME.pack(
            _PROTO_SIZE,
            PROTO_MAGIC,
            packet.type,
            flags,
            packet.userid,
            packet.rolemask,
            packet.aux1 & _WORD,
            packet.aux2 & _WORD,
        )
        header = HEADER.pack(STREAM_MAGIC, len(front) + len(tail) + _PROTO_FRAME.size)
    except struct.error as error:
        raise OverflowError(f"a field does not fit the wire: {packet!r}: {error}") from None
    return b"".join((header, front, tail, proto))


def _text_frame(text: str) -> bytes:
    return _short_text_frame(text) if len(text) < _LONG else _make_text_frame(text)


def _make_text_frame(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return _length(len(data)) + data


_short_text_frame = functools.lru_cache(4096)(_make_text_frame)  # topics and addresses come again and again


def _length(size: int) -> bytes:
    """What stands before a frame's data."""
    return _SHORT_LENGTHS[size] if size < _LONG else b"\xff" + FRAME_LENGTH.pack(size)


def decode(framed: bytes) -> Packet:
    """Decode exactly one framed message: the inverse of `encode`. Raises ProtocolError, and nothing else."""
    if len(framed) < HEADER_SIZE:
        raise ProtocolError(errno.EPROTO, "message header", got=f"{len(framed)} bytes", want=f"{HEADER_SIZE} bytes")
    length = _body_length(framed, 0, MAX_MESSAGE_BYTES)
    if length != len(framed) - HEADER_SIZE:
        raise ProtocolError(errno.EPROTO, "message length", got=length, want=len(framed) - HEADER_SIZE)
    return decode_body(framed, HEADER_SIZE)


def _body_length(data: Buffer, at: int, max_bytes: int) -> int:
    magic, length = HEADER.unpack_from(data, at)
    if magic != STREAM_MAGIC:
        raise ProtocolError(errno.EPROTO, "stream magic", got=hex(magic), want=hex(STREAM_MAGIC))
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
    if magic != PROTO_MAGIC or kind not in _TYPES:
        return _decode_unusual(body, start, end)
    at = start
    routes: list[str] | None = None
    topic: str | None = None
    payload: bytes | None = None
    if flags & FLUX_MSGFLAG_ROUTE:
        routes = []
        limit = last if last - at < _FRAMES_MAX * 2 else at + _FRAMES_MAX * 2
        while at < limit:
            size = body[at]
            if size == 0 or size == _LONG:
                break
            routes.append(str(body[at + 1 : at + 1 + size], "utf-8", "surrogateescape"))
            at += 1 + size
        if at >= limit or body[at] != 0:
            return _decode_unusual(body, start, end)
        at += 1
    if flags & FLUX_MSGFLAG_TOPIC:
        size = body[at]
        if at >= last or size == _LONG:
            return _decode_unusual(body, start, end)
        topic = str(body[at + 1 : at + 1 + size], "utf-8", "surrogateescape")
        if "\0" in topic:
            topic = _up_to_nul(topic)
        at += 1 + size
    if flags & FLUX_MSGFLAG_PAYLOAD:
        if at >= last:
            return _decode_unusual(body, start, end)
        size = body[at]
        at += 1
        if size == _LONG:
            size = FRAME_LENGTH.unpack_from(body, at)[0]
            at += 4
        payload = bytes(body[at : at + size])
        at += size
    if at != last:
        return _decode_unusual(body, start, end)
    return Packet(kind, flags, userid, rolemask, aux1, aux2, routes, topic, payload)


def _up_to_nul(topic: str) -> str:
    """What the C library takes for the topic."""
    return topic.partition("\0")[0]


def _decode_unusual(body: Buffer, start: int, end: int) -> Packet:
    """Read a body frame by frame: the rules of spec and C decoder in full, without haste.

    The frames are walked twice and never listed. More than any message has are refused, since a body of a
    million empty ones would hold up everybody while it is read, and addresses of one letter would fill the memory.
    """
    low, high, rest = start, start, -1
    for next_low, next_high in _frames(body, start, end):
        low, high, rest = next_low, next_high, high
    if rest < 0:
        raise ProtocolError(errno.EPROTO, "message body", got="nothing", want="at least a PROTO frame")
    if high - low != _PROTO_SIZE:
        raise ProtocolError(errno.EPROTO, "PROTO frame size", got=high - low, want=_PROTO_SIZE)
    magic, kind, flags, userid, rolemask, aux1, aux2 = _PROTO.unpack_from(body, low)
    if magic != PROTO_MAGIC:
        raise ProtocolError(errno.EPROTO, "PROTO magic and version", got=hex(magic), want=hex(PROTO_MAGIC))
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
        low, high = _next_frame(frames, "topic frame")
        packet.topic = _up_to_nul(str(body[low:high], "utf-8", "surrogateescape"))
    if flags & FLUX_MSGFLAG_PAYLOAD:
        low, high = _next_frame(frames, "payload frame")
        packet.payload = bytes(body[low:high])
    return packet


def _next_frame(frames: Iterator[tuple[int, int]], what: str) -> tuple[int, int]:
    for frame in frames:
        return frame
    raise ProtocolError(errno.EPROTO, what, got="no frame", want="a frame before PROTO, as the flags say")


def _frames(body: Buffer, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each frame's data. Frames that run past the body are EINVAL, too many EPROTO."""
    at, count = start, 0
    while at < end:
        count += 1
        if count > _FRAMES_MAX:
            raise ProtocolError(errno.EPROTO, "frames", got="more", want=f"at most {_FRAMES_MAX}")
        size = body[at]
        at += 1
        if size == _LONG:
            if at + 4 > end:
                raise ProtocolError(errno.EINVAL, "frame length", got=f"{end - at} bytes", want="4 bytes")
            size = FRAME_LENGTH.unpack_from(body, at)[0]
            at += 4
        if at + size > end:
            raise ProtocolError(errno.EINVAL, "frame length", got=size, want=f"at most {end - at}")
        yield at, at + size
        at += size


class Cutter:
    """Cuts a byte stream into message bodies. Feed it what arrives, split anywhere.

    Holds at most one incomplete message, so at most max_bytes and one read. After it has raised, the
    stream has lost its place: close the connection. Not thread-safe.
    """

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._wanted = HEADER_SIZE

    @property
    def missing(self) -> int:
        """How many bytes are wanted, at least, before there is one more body."""
        return self._wanted - len(self._kept)

    def bodies(self, data: Buffer) -> Iterator[tuple[Buffer, int, int]]:
        """Each body that data completes, as (buffer, start, end): valid until the next one is taken.

        Raises ProtocolError behind the last good one. Run it to its end: what is left over is kept then.
        """
        kept = self._kept
        if not kept:
            used = yield from self._cut(data)
            if used < len(data):
                kept += data[used:] if used else data
            return
        kept += data
        if len(kept) < self._wanted:
            return
        with memoryview(kept) as view:
            used = yield from self._cut(view)
        del kept[:used]

    def _cut(self, data: Buffer) -> Generator[tuple[Buffer, int, int], None, int]:
        """The bodies in data; returns how many bytes they and their headers took."""
        start, size = HEADER_SIZE, len(data)
        while start <= size:
            magic, length = HEADER.unpack_from(data, start - HEADER_SIZE)
            if magic != STREAM_MAGIC or not 0 < length <= self._max_bytes:
                _body_length(data, start - HEADER_SIZE, self._max_bytes)
            end = start + length
            if end > size:
                self._wanted = HEADER_SIZE + length
                return start - HEADER_SIZE
            yield data, start, end
            start = end + HEADER_SIZE
        self._wanted = HEADER_SIZE
        return start - HEADER_SIZE


class Decoder(Cutter):
    """Cuts a byte stream into packets."""

    def feed(self, data: Buffer) -> list[Packet]:
        """The packets that data completes, in order.

        Raises StreamError, a ProtocolError that has the packets completed before the fault in the same
        read: whoever sent them may rely on them having been sent.
        """
        packets: list[Packet] = []
        try:
            for body, start, end in self.bodies(data):
                packets.append(decode_body(body, start, end))
        except ProtocolError as error:
            raise StreamError(error, packets) from None
        return packets


class StreamError(ProtocolError):
    """A ProtocolError in the middle of a read. Attribute packets: the whole messages that came before it."""

    def __init__(self, cause: ProtocolError, packets: list[Packet]) -> None:
        super().__init__(cause.errno or errno.EPROTO, cause.what, got=cause.got, want=cause.want)
        self.packets = packets
