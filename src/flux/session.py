# SPDX-License-Identifier: Apache-2.0
"""One connection's protocol state, without the connection: bytes in, answers to whom they belong, bytes out.

The synchronous handle, the asyncio handle and flamepy's I/O thread are shells over this class. They
move bytes and decide when to; what a byte means is decided here.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Protocol

from flux import packet as wire
from flux.constants import (
    FLUX_MATCHTAG_NONE,
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
)
from flux.errors import named_error
from flux.matchtags import TagPool
from flux.packet import Decoder, Packet

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Receiver", "Session", "deliver"]


class Receiver(Protocol):
    """Whoever waits for the answers to one request."""

    def on_response(self, response: Packet) -> None:
        """One answer arrived; errnum is its aux1. Called from Session.receive."""

    def on_lost(self, error: OSError) -> None:
        """The connection is gone; no answer will come any more."""


class Session:
    """The requester's side of one connection.

    Not thread-safe: a shell that serves several threads holds its own lock around each call.
    After `lose`, requests raise the error that the connection ended with.

    encode: from a packet to its framed message, for who wants to change what all messages say.
    """

    def __init__(
        self, max_message_bytes: int = wire.MAX_MESSAGE_BYTES, encode: Callable[[Packet], bytes] = wire.encode
    ) -> None:
        self._encode = encode
        self._tags = TagPool()
        self._waiting: dict[int, Receiver | None] = {}  # None: given up, tag held until the last answer
        self._decoder = Decoder(max_message_bytes)
        self.queued: list[bytes] = []
        """Messages for `bytes_to_send`."""
        self.lost: OSError | None = None
        """Why the connection ended, None while it stands."""
        self.inbox: deque[Packet] = deque()
        """Messages that answer no request of ours: requests to our services, events, stray responses."""

    def request(
        self,
        topic: str,
        payload: bytes | None,
        receiver: Receiver | None,
        *,
        nodeid: int = FLUX_NODEID_ANY,
        flags: int = 0,
    ) -> int:
        """Queue a request; returns its matchtag, which is 0 when no answer is wanted.

        receiver: None sends with NORESPONSE. flags: of the message, FLUX_MSGFLAG_STREAMING among them.
        """
        if receiver is None:
            flags |= FLUX_MSGFLAG_NORESPONSE
            self.send(wire.request(topic, payload, matchtag=FLUX_MATCHTAG_NONE, nodeid=nodeid, flags=flags))
            return FLUX_MATCHTAG_NONE
        if self.lost is not None:
            raise named_error(errno.EPIPE)
        tag = self._tags.allocate()
        try:
            self.queued.append(self._encode(wire.request(topic, payload, matchtag=tag, nodeid=nodeid, flags=flags)))
        except (OverflowError, UnicodeError):
            self._tags.free(tag)
            raise
        self._waiting[tag] = receiver
        return tag

    def send(self, packet: Packet) -> None:
        """Queue any message."""
        if self.lost is not None:
            raise named_error(errno.EPIPE)
        self.queued.append(self._encode(packet))

    def abandon(self, tag: int) -> None:
        """Nobody waits for this request any more; its tag is reused only after its last answer."""
        if tag in self._waiting:
            self._waiting[tag] = None

    def bytes_to_send(self) -> bytes:
        """All that is queued, in order; the caller must now write it."""
        out = self.queued
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def receive(self, data: bytes) -> None:
        """Take what arrived: answers go to their receivers at once, the rest to the inbox.

        A receiver finds in the inbox just what arrived before its answer. Raises ProtocolError when the
        peer broke the protocol, after delivering what came before.
        """
        fault = None
        try:
            packets = self._decoder.feed(data)
        except wire.StreamError as error:
            packets, fault = error.packets, error
        for packet in packets:
            receiver = self._receiver_of(packet)
            if receiver is not None:
                receiver.on_response(packet)
        if fault is not None:
            raise fault

    def decode(self, data: bytes) -> list[Packet]:
        """The messages that arrived; the first half of `receive`, for shells that hold a lock around `sort` only.

        Raises StreamError, with the messages before the fault.
        """
        return self._decoder.feed(data)

    def sort(self, packets: list[Packet]) -> list[tuple[Receiver, Packet]]:
        """Who gets which answer, the rest goes to the inbox. The caller hands them over, outside of any lock."""
        deliveries: list[tuple[Receiver, Packet]] = []
        for packet in packets:
            receiver = self._receiver_of(packet)
            if receiver is not None:
                deliveries.append((receiver, packet))
        return deliveries

    def _receiver_of(self, packet: Packet) -> Receiver | None:
        """Who waits for this answer; None if nobody does any more. What is no answer goes to the inbox."""
        tag = packet.aux2
        if packet.type != FLUX_MSGTYPE_RESPONSE or not tag or packet.routes or tag not in self._waiting:
            self.inbox.append(packet)
            return None
        if not packet.aux1 and packet.flags & FLUX_MSGFLAG_STREAMING:
            return self._waiting[tag]
        self._tags.free(tag)
        return self._waiting.pop(tag)

    def lose(self, error: OSError) -> None:
        """The connection ended: tell everyone who waits, refuse what comes later. Only the first call counts."""
        for receiver in self.cut(error):
            receiver.on_lost(error)

    def cut(self, error: OSError) -> list[Receiver]:
        """The first half of `lose`: whom to tell, outside of any lock."""
        if self.lost is not None:
            return []
        self.lost = error
        waiting, self._waiting = self._waiting, {}
        self.queued.clear()
        return [receiver for receiver in waiting.values() if receiver is not None]

    @property
    def tags_available(self) -> int:
        """How many matchtags are free in the pool."""
        return self._tags.available


def deliver(deliveries: list[tuple[Receiver, Packet]]) -> None:
    """Hand answers to those who wait for them, in the order of their arrival."""
    for receiver, packet in deliveries:
        receiver.on_response(packet)
