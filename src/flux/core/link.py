# SPDX-License-Identifier: Apache-2.0
"""The bytes of one connection: between a blocking stream and the protocol state behind it.

A call that waits blocks in one plain system call. Nothing here keeps a reference to the handle,
so that the connection closes with the handle's last reference.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from flux import packet as wire
from flux.connector import READ_BYTES
from flux.core.inbox import Inbox
from flux.core.thread import this_thread
from flux.errors import named_error
from flux.packet import Packet, ProtocolError
from flux.session import Receiver, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from flux.connector import Stream

__all__ = ["Link"]


class Link:
    """One connection. Used in one thread at a time, and in the process that opened it only. encode: see Session."""

    def __init__(self, stream: Stream, encode: Callable[[Packet], bytes] = wire.encode) -> None:
        self._stream, self._encode = stream, encode
        self._pid = os.getpid()
        self._unsent: bytes | memoryview = b""  # survives a KeyboardInterrupt in the middle of a long send
        self._is_closed = False
        self.session = Session(encode=encode)
        self.inbox = Inbox(self.session.inbox)

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self._stream.fileno()

    @property
    def lost(self) -> OSError | None:
        """Why the connection ended, None while it stands."""
        return self.session.lost

    def request(self, topic: str, payload: bytes | None, receiver: Receiver | None, nodeid: int, flags: int) -> int:
        """Queue a request, see Session.request. Raises OSError (EINVAL) when closed, BrokenPipeError when lost."""
        self.check_usable()
        return self.session.request(topic, payload, receiver, nodeid=nodeid, flags=flags)

    def send(self, packet: Packet) -> None:
        """Queue any message; raises as `request` does."""
        self.check_usable()
        self.session.send(packet)

    def check_usable(self) -> None:
        """Raise OSError (EINVAL) when closed, or in a process that has not opened it."""
        if self._is_closed:
            raise named_error(errno.EINVAL)
        if os.getpid() != self._pid:
            # two processes on one stream would cut each other's messages in pieces
            raise OSError(errno.EINVAL, f"handle belongs to process {self._pid}; open a new one after fork")

    def flush(self) -> None:
        """Write all that is queued, waiting as long as it takes.

        While it waits it reads, so that a peer that does the same gets on. Raises BrokenPipeError when
        the peer is gone; what it sent before is kept.
        """
        while data := self._unsent or self.session.bytes_to_send():
            self._unsent = data
            try:
                sent = self._stream.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if self._wait(select.POLLIN | select.POLLOUT, None) & ~select.POLLOUT:
                    self.read_available()
            except OSError as error:
                self._unsent = b""
                while self.read_available():
                    pass
                self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
                raise named_error(errno.EPIPE) from error
            else:
                self._unsent = b"" if sent == len(data) else memoryview(data)[sent:]

    def read(self, deadline: float | None = None) -> None:
        """Wait until something arrives and take all of it.

        deadline: on the monotonic clock; past it the call still takes what is there. Raises
        TimeoutError, or, when nothing can arrive any more, the error that ended the connection.
        """
        self.check_usable()
        if self.lost is not None:
            raise OSError(self.lost.errno, self.lost.strerror) from self.lost
        self.flush()
        if deadline is not None and not self._wait(select.POLLIN, deadline - time.monotonic()):
            raise named_error(errno.ETIMEDOUT)
        try:
            this_thread.block()
            data = self._stream.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        finally:
            this_thread.is_blocked = False
        self._take(data)

    def read_until(self, results: Sized, deadline: float | None) -> None:
        """Read until `results` has something in it; raises as `read` does."""
        while not results:
            self.read(deadline)

    def read_available(self) -> bool:
        """Take what has arrived without waiting; False when nothing had."""
        if self.lost is not None:
            return False
        try:
            data = self._stream.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        """Handle what was read; nothing means the peer hung up."""
        if not data:
            self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            return
        try:
            self.session.receive(data)
        except ProtocolError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._unsent = b""
        self.session.lose(error)

    def ready_events(self) -> int:
        """The poll(2) events the socket is ready for now."""
        return self._wait(select.POLLIN | select.POLLOUT, 0)

    def _wait(self, events: int, timeout_s: float | None) -> int:
        """Wait for poll(2) events of the socket; those that occurred, 0 after the timeout."""
        poll = select.poll()
        poll.register(self._stream, events)
        try:
            this_thread.block()
            ready = poll.poll(None if timeout_s is None else max(0, math.ceil(timeout_s * 1000)))
        finally:
            this_thread.is_blocked = False
        return ready[0][1] if ready else 0

    def reopen(self, stream: Stream) -> None:
        """Go on with another connection: what was in flight fails with ECONNRESET, what arrived is kept."""
        self._lose(OSError(errno.ECONNRESET, "RPC aborted due to broker reconnect"))
        self._stream.close()
        self._stream = stream
        arrived, self.session = self.session.inbox, Session(encode=self._encode)
        self.session.inbox = arrived

    def close(self) -> None:
        """Hang up; whoever waits gets EINVAL."""
        if not self._is_closed:
            self._is_closed = True
            self._lose(named_error(errno.EINVAL))
            self._stream.close()
