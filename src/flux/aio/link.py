# SPDX-License-Identifier: Apache-2.0
"""The bytes of one connection: between a non-blocking stream, an asyncio loop and the protocol state behind it.

All that is queued in one turn of the loop leaves in one write at its end, and all that one read brings
is handed on at once. Reading never pauses: whoever waits for an answer waits for what lies before it too.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

from flux.connector import READ_BYTES
from flux.packet import StreamError
from flux.session import Receiver, Session, deliver

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from flux.connector import Stream
    from flux.packet import Packet

__all__ = ["Link"]

_BATCH_MAX_BYTES = 64 << 10  # queued, and about so many: then they are written although the turn is not over
_OVERHEAD_BYTES = 128  # of a message besides its payload
_READS_MAX = 4  # in one go, then it is the turn of others
_NOTHING = memoryview(b"")


class Link:
    """One connection, used on one loop and in the process that opened it.

    on_messages takes what answers no request of ours out of the inbox; on_lost is called once, after
    everybody who waits for an answer. Neither may raise. encode: see Session.
    """

    def __init__(
        self,
        stream: Stream,
        on_messages: Callable[[Link, deque[Packet]], None],
        on_lost: Callable[[Link, OSError], None],
        encode: Callable[[Packet], bytes],
    ) -> None:
        self.session = Session(encode=encode)
        self._stream = stream
        self._on_messages, self._on_lost = on_messages, on_lost
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._queued = 0
        self._is_flush_due = False
        self._is_read_due = False
        self._is_unheard = False
        self._unsent = _NOTHING  # not empty while the socket is full
        self._drained: asyncio.Future[None] | None = None
        self._loop.add_reader(stream.fileno(), self._on_readable)

    def request(self, topic: str, payload: bytes | None, receiver: Receiver | None, nodeid: int, flags: int) -> int:
        """Queue a request, see Session.request."""
        tag = self.session.request(topic, payload, receiver, nodeid=nodeid, flags=flags)
        self._flush_when_due(payload)
        return tag

    def send(self, packet: Packet) -> None:
        """Queue any message."""
        self.session.send(packet)
        self._flush_when_due(packet.payload)

    # Writing

    def _flush_when_due(self, payload: bytes | None) -> None:
        self._queued += _OVERHEAD_BYTES + len(payload or b"")
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_at_end_of_turn)
        if self._queued >= _BATCH_MAX_BYTES:
            self.flush()

    def _flush_at_end_of_turn(self) -> None:
        self._is_flush_due = False
        self.flush()

    def flush(self) -> None:
        """Write what is queued, as much as the socket takes; the rest follows when it takes more."""
        if self._unsent or self._is_unheard:
            return
        self._queued = 0
        data = self.session.bytes_to_send()
        if data:
            sent = self._write(data)
            if sent < len(data):
                self._unsent = memoryview(data)[sent:]
                self._loop.add_writer(self._stream.fileno(), self._on_writable)

    def _write(self, data: bytes | memoryview) -> int:
        """How many bytes were taken: all of them, and thrown away, when the peer is gone."""
        try:
            return self._stream.send(data, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._is_unheard = True
            self._loop.call_soon(self._read_the_rest)
            return len(data)

    def _read_the_rest(self) -> None:
        """The peer takes nothing any more: the connection ends, after what it sent before it left."""
        while self._read():
            pass
        self.lose(_reset())

    def _on_writable(self) -> None:
        self._unsent = self._unsent[self._write(self._unsent) :]
        if not self._unsent:
            self._loop.remove_writer(self._stream.fileno())
            self.flush()
            if not self._unsent:
                self._wake_drained()

    @property
    def is_congested(self) -> bool:
        """Whether the socket is full: what is queued now waits in memory."""
        return bool(self._unsent)

    async def drain(self) -> None:
        """Wait until the socket has taken all that was queued, or the connection is lost."""
        self.flush()
        while self._unsent:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def _wake_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set_result(None)

    # Reading

    def _on_readable(self) -> None:
        """Read until nothing is left: of a peer that hung up uvloop tells once, and never again."""
        for _ in range(_READS_MAX):
            if not self._read():
                return
        if not self._is_read_due:
            self._is_read_due = True
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._is_read_due = False
        self._on_readable()

    def _read(self) -> bool:
        """Take one read. False when nothing was there, or the connection is lost."""
        if self.session.lost is not None:
            return False
        try:
            data = self._stream.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.lose(_reset())
        return True

    def _take(self, data: bytes) -> None:
        session = self.session
        fault = None
        try:
            packets = session.decode(data)
        except StreamError as error:
            packets, fault = error.packets, error
        deliveries = session.sort(packets)
        if session.inbox:
            self._on_messages(self, session.inbox)
        deliver(deliveries)
        if fault is not None:
            self.lose(fault)

    # The end

    def lose(self, error: OSError) -> None:
        """Hang up, and tell everybody who waits. Only the first call counts."""
        if self.session.lost is not None:
            return
        self._hang_up()
        self.session.lose(error)
        self._wake_drained()
        self._on_lost(self, error)

    def drop(self, error: OSError) -> None:
        """Hang up without a word to those who wait: their loop is gone, or in another process."""
        if self.session.lost is None:
            self._hang_up()
            self.session.cut(error)

    def _hang_up(self) -> None:
        self._unsent = _NOTHING
        # a forked child shares the loop's epoll, where the parent's socket must stay watched
        if not self._loop.is_closed() and not self.is_inherited:
            self._loop.remove_reader(self._stream.fileno())
            self._loop.remove_writer(self._stream.fileno())
        self._stream.close()

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a fork of the one that the connection belongs to."""
        return os.getpid() != self._pid

    def check_place(self) -> None:
        """Raises RuntimeError anywhere but in the loop and the process that the connection belongs to."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is self._loop:
            return
        if self.is_inherited:
            raise RuntimeError(f"handle belongs to process {self._pid}; open a new one after fork")
        raise RuntimeError(
            "handle used outside of the event loop that opened it; open one for each loop, "
            "or call over with asyncio.run_coroutine_threadsafe"
        )


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
