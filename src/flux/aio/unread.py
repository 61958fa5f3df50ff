# SPDX-License-Identifier: Apache-2.0
"""Messages that arrived and wait to be taken, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet

__all__ = ["UNREAD_MAX", "UNREAD_MAX_BYTES", "Unread"]

UNREAD_MAX = 65_536
UNREAD_MAX_BYTES = 64 << 20
"""As many bytes as the broker keeps for a peer that does not read."""


class Unread:
    """A queue that one side fills and the other waits for.

    what: whose messages, for the error (ENOBUFS) when there are more than UNREAD_MAX of them, or
    UNREAD_MAX_BYTES of payload; an empty queue takes any message. Nothing more is taken then, and the
    taker gets the error after what is there. Slowing the sender down instead would hold up the answers
    that the taker may be waiting for.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self.ended: OSError | None = None
        """Why nothing more comes; None while something may."""

    def put(self, packet: Packet) -> None:
        """Add a message; ends the queue when it is full."""
        if self.ended is not None:
            return
        size = len(packet.payload or b"")
        if self._packets and (len(self._packets) >= UNREAD_MAX or self._bytes + size > UNREAD_MAX_BYTES):
            self.end(OSError(errno.ENOBUFS, self._overflow()))
            return
        self._bytes += size
        self._packets.append(packet)
        if self._waiters:
            self._wake()

    def _overflow(self) -> str:
        held = f"{len(self._packets)} messages, {self._bytes} bytes"
        return f"{self._what}: too much unread ({held}), so what came later is lost; take messages as they come"

    def end(self, error: OSError) -> None:
        """Nothing more comes; only the first call counts."""
        if self.ended is None:
            self.ended = error
            self._wake()

    def go_on(self) -> None:
        """Take messages again."""
        self.ended = None

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def get(self, matches: Callable[[Packet], bool] | None = None) -> Packet:
        """The oldest message that matches. Raises the error that ended the queue when there is none."""
        while (packet := self._take(matches)) is None:
            if self.ended is not None:
                raise OSError(self.ended.errno, self.ended.strerror) from self.ended
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                with contextlib.suppress(ValueError):  # woken at the same time
                    self._waiters.remove(waiter)
                raise
        return packet

    def _take(self, matches: Callable[[Packet], bool] | None) -> Packet | None:
        packets = self._packets
        for place, packet in enumerate(packets):
            if matches is None or matches(packet):
                del packets[place]
                self._bytes -= len(packet.payload or b"")
                return packet
        return None
