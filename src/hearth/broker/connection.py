# SPDX-License-Identifier: Apache-2.0
"""One client connection: bytes between a socket and the router, in batches, within bounds.

Reading: one wake-up takes what is there and hands all of it to the router. Writing: what the router
queued is written once, when the batch is over. Two marks bound the queue. Above the soft one we
read no more from this peer, and a peer that sends requests to it waits too; above the hard one the
peer is cut off. Nobody else notices either.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Protocol

from flux.packet import Cutter, ProtocolError, decode_body
from hearth.broker.holds import Holds
from hearth.broker.passage import Passage
from hearth.broker.router import Port, Router

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from hearth.broker.credentials import Credentials

__all__ = ["GUEST_HARD_MARK_BYTES", "HARD_MARK_BYTES", "SOFT_MARK_BYTES", "Connection"]

log = logging.getLogger(__name__)

SOFT_MARK_BYTES = 8 << 20
HARD_MARK_BYTES, GUEST_HARD_MARK_BYTES = 64 << 20, 16 << 20
"""A reader who is slow for a while (20 MB of events have been seen) is served; one who never reads is cut."""

_TURN_READS, _TURN_MESSAGES = 8, 256  # in one go, whichever comes first; then it is the turn of others
_SMALL_READ_BYTES = 64 << 10
_JOIN_MAX_BYTES = 128 << 10  # joining small messages beats a vector of many; large ones are not worth a copy
_VECTOR_MAX = 64
_STALLED_S = 1.0  # without a byte taken: no longer slow, but waiting for us as we for it


class Owner(Protocol):
    """What a connection needs of the broker that accepted it."""

    router: Router
    max_message_bytes: int
    max_guest_message_bytes: int
    read_buffer: memoryview

    def settle(self) -> None:
        """A batch is over."""

    def settle_later(self, connection: Connection) -> None:
        """The connection has something to write when the batch is over."""

    def on_closed(self, connection: Connection) -> None:
        """The connection has ended."""


class Connection(Port):
    """A peer on a stream socket. Owned by its broker; all calls come from the broker's loop."""

    def __init__(self, broker: Owner, stream: socket.socket, uuid: str, credentials: Credentials, pid: int) -> None:
        super().__init__(uuid, credentials, pid)
        self._broker = broker
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._cutter = Cutter(broker.max_message_bytes if credentials.is_owner else broker.max_guest_message_bytes)
        self._passage = Passage(broker.router, self)
        self._queue: list[bytes | memoryview] = []
        self._queued = 0
        self._hard_mark = HARD_MARK_BYTES if credentials.is_owner else GUEST_HARD_MARK_BYTES
        self._sent = 0
        self._received = 0
        self._holds = Holds(self._pause, self._resume)
        self._when_drained: list[Callable[[], None]] = []
        self._writer_added = False
        self._has_next_turn = False
        """Whether it is read again in the next turn of the loop, whatever the loop tells of it until then."""
        self._is_deaf = False
        """Whether it is sent nothing any more: it has ended, or will at the end of the batch."""
        stream.setblocking(False)
        self._loop.add_reader(stream, self._on_readable)

    def __repr__(self) -> str:
        return f"connection {self.uuid[:8]} (pid {self.pid}, uid {self.credentials.userid})"

    # -- reading

    def _on_readable(self) -> None:
        """Read all that is there, and settle after each read: the last one, which finds nothing, costs no one time.

        Of a peer that hung up with answers unread, uvloop tells once, and never again.
        """
        if self._has_next_turn:
            return
        turn_ends = self.messages_in + _TURN_MESSAGES
        for _ in range(_TURN_READS):
            if self._holds.is_held or not self._read():
                return
            self._broker.settle()
            if self.messages_in >= turn_ends:
                break
        self._has_next_turn = True
        self._loop.call_soon(self._take_next_turn)

    def _take_next_turn(self) -> None:
        self._has_next_turn = False
        self._on_readable()

    def _read(self) -> bool:
        """Take one read. False when nothing was there."""
        if self.is_closed:
            return False
        try:
            size = self._stream.recv_into(self._buffer_for_read())
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionResetError:  # it hung up with answers unread
            self.close(None)
        except OSError as error:
            self.close(f"read failed: {error}")
        else:
            self._received += size
            self._take(bytes(self._broker.read_buffer[:size]))
        return True

    def _buffer_for_read(self) -> memoryview:
        """All of the buffer in the middle of a large message; 64 KiB can be a thousand small ones, which cost more."""
        buffer = self._broker.read_buffer
        return buffer if self._cutter.missing > _SMALL_READ_BYTES else buffer[:_SMALL_READ_BYTES]

    def _on_lost_reader(self) -> None:
        """Nobody takes what we write. What the peer sent before is still to be read, up to its EOF.

        Watched anew, since uvloop gives a socket up after an error, whatever is registered in the callback.
        """
        if self.is_closed:
            return
        self._loop.remove_writer(self._stream)
        self._writer_added = False
        self._loop.remove_reader(self._stream)
        if not self._holds.is_held:
            self._loop.add_reader(self._stream, self._on_readable)
            self._on_readable()

    def _take(self, data: bytes) -> None:
        if not data:
            self.close(None)
            return
        send_on, receive = self._passage.send_on, self._broker.router.receive
        try:
            for body, start, end in self._cutter.bodies(data):
                self.messages_in += 1
                if not send_on(body, start, end):
                    receive(self, decode_body(body, start, end))
        except ProtocolError as error:
            self.close(str(error))

    def _pause(self) -> None:
        if not self.is_closed:
            self._loop.remove_reader(self._stream)

    def _resume(self) -> None:
        if not self.is_closed:
            self._loop.add_reader(self._stream, self._on_readable)

    def wait_for(self, congested: Port) -> None:
        """Read no more from this peer until the congested one has drained."""
        if isinstance(congested, Connection) and congested is not self:
            self._holds.wait_for(congested._holds)

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once when the queue is below the soft mark again; never if the connection ends first."""
        self._when_drained.append(call)

    # -- writing

    @property
    def is_congested(self) -> bool:
        """Whether the queue stands above the soft mark."""
        return self._queued > SOFT_MARK_BYTES

    @property
    def has_unsent(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._queue)

    @property
    def backlog(self) -> int:
        """How many pieces wait to be written: messages, or several joined."""
        return len(self._queue)

    @property
    def bytes_in(self) -> int:
        """How much was read from it."""
        return self._received

    @property
    def bytes_out(self) -> int:
        """How much was written to it."""
        return self._sent

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._stream.fileno() < 0

    def send(self, data: bytes) -> None:
        """Queue one framed message; it leaves when the broker settles."""
        if self._is_deaf:
            return
        if self._queued > self._hard_mark:
            log.warning("%r does not read: %d bytes wait for it; cut off", self, self._queued)
            self._is_deaf = True  # closed when the batch is over: the router is in the middle of its tables
            self._broker.settle_later(self)
            return
        if not self._queue:
            self._broker.settle_later(self)
        self._queue.append(data)
        self._queued += len(data)
        if self._queued > SOFT_MARK_BYTES and not self._holds.is_stalled and not self._holds.waits_for(self._holds):
            self._hold_back()

    def _hold_back(self) -> None:
        """Read no more from a peer that does not take its answers, as long as it takes some.

        One that blocks in writing, and reads only afterwards, would otherwise never read: it is served on,
        up to the hard mark.
        """
        self._holds.wait_for(self._holds)
        self._loop.call_later(_STALLED_S, self._look_for_progress, self._sent)

    def _look_for_progress(self, sent_before: int) -> None:
        if self.is_closed or not self._holds.waits_for(self._holds):
            return
        if self._sent == sent_before:
            self._holds.stall()
        else:
            self._loop.call_later(_STALLED_S, self._look_for_progress, self._sent)

    def flush(self) -> None:
        """Write what is queued, as much as the peer takes."""
        if self._is_deaf:
            self.close(None)  # the log has it
            self._loop.call_soon(self._broker.settle)  # services heard of the end behind the end of their batch
        elif self._queue and not self._writer_added:
            self._write()
            if self._queue:
                self._writer_added = True
                self._loop.add_writer(self._stream, self._on_writable)

    def _on_writable(self) -> None:
        self._write()
        if not self._queue and self._writer_added:
            self._writer_added = False
            self._loop.remove_writer(self._stream)
        self._broker.settle()

    def _write(self) -> None:
        queue = self._queue
        try:
            while queue:
                if len(queue) == 1:
                    sent = self._stream.send(queue[0])
                elif self._queued <= _JOIN_MAX_BYTES:
                    self.messages_out += len(queue) - 1
                    queue[:] = [b"".join(queue)]
                    sent = self._stream.send(queue[0])
                else:
                    sent = self._stream.sendmsg(queue[:_VECTOR_MAX])
                self._drop(sent)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            # The peer reads no more, but what it sent before it left is still to be read (EOF follows).
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                log.warning("%r: write failed: %s", self, error)
            self._drop(self._queued)
            self._loop.call_soon(self._on_lost_reader)
        if (self._holds.is_waited_for or self._when_drained) and not self.is_congested:
            self._drained()

    def _drained(self) -> None:
        """There is room again: let those go on who waited for it."""
        self._holds.let_go()
        calls, self._when_drained = self._when_drained, []
        for call in calls:
            call()

    def _drop(self, sent: int) -> None:
        """Take the first bytes off the queue; the rest keeps its place."""
        self._queued -= sent
        self._sent += sent
        self._holds.is_stalled = False
        queue = self._queue
        whole = 0
        while sent and sent >= len(queue[whole]):
            sent -= len(queue[whole])
            whole += 1
        self.messages_out += whole
        del queue[:whole]
        if sent:
            queue[0] = memoryview(queue[0])[sent:]

    # -- the end

    def close(self, reason: str | None) -> None:
        """End the connection; reason None means that the peer hung up, which is no news."""
        if self.is_closed:
            return
        if reason is not None:
            log.warning("%r closed: %s", self, reason)
        self._loop.remove_reader(self._stream)
        if self._writer_added:
            self._loop.remove_writer(self._stream)
        self._stream.close()
        self._is_deaf = True
        self._queue.clear()
        self._queued = 0
        self._holds.forget()
        self._when_drained.clear()
        self._broker.on_closed(self)
