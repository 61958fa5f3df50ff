# SPDX-License-Identifier: Apache-2.0
"""What stands and falls with one connection: its stream, its protocol state, and who waits for either.

The end is declared by `end`, `reopen` or `close`, under the lock, and whoever comes back from a system call on a
stream that is not the current one any more drops what it brings. A stream of the past is closed when
neither the leader nor a reactor can be inside it.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from flux import packet as wire
from flux.core.inbox import Inbox
from flux.core.readers import Readers
from flux.session import Receiver, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.connector import Stream
    from flux.core.reconnecting import Reconnecting
    from flux.packet import Packet

__all__ = ["Connection", "StreamWatcher", "reset_error"]


class StreamWatcher(Protocol):
    """A reactor's part that has the stream among its descriptors."""

    def stream_changed(self) -> None:
        """It is to be let go of. Called under the lock, from any thread."""


class Connection(ABC):
    """One connection after another, for all threads of the process that opened it. Bytes are moved by `Link`.

    reconnecting: what to do when it is lost. encode: see Session.
    """

    def __init__(
        self,
        stream: Stream,
        reconnecting: Reconnecting | None = None,
        encode: Callable[[Packet], bytes] = wire.encode,
    ) -> None:
        self.stream = stream
        self._encode = encode
        self._pid = os.getpid()
        self._reconnecting = reconnecting
        self._is_closed = False
        self._refusal: OSError | None = None  # to every use: closed, or another process's
        self._unsent: bytes | memoryview = b""  # survives a KeyboardInterrupt in the middle of a long send
        self.retired: list[Stream] = []
        """Streams of the past, shut down, and closed when nobody is inside any more."""
        self.watchers: dict[StreamWatcher, None] = {}
        self.lock = threading.RLock()  # a signal's handler, or __del__, may come in the middle of its own thread
        self.readers = Readers(self.lock)
        self.session = Session(encode=encode)
        self.inbox = Inbox(self.session.inbox)
        _links.add(self)

    @abstractmethod
    def flush(self) -> None:
        """Write all that is queued."""

    def fileno(self) -> int:
        """The stream's descriptor, -1 once closed and while there is no connection."""
        return self.stream.fileno()

    @property
    def lost(self) -> OSError | None:
        """Why the connection ended, None while it stands or is being made anew."""
        return self.session.lost

    @property
    def is_mending(self) -> bool:
        """Whether the connection is being made anew."""
        return self.readers.is_mending

    def check_usable(self) -> None:
        """Raise OSError (EINVAL) when closed, or in a process that has not opened it."""
        if self._refusal is not None:
            raise OSError(self._refusal.errno, self._refusal.strerror)

    def check_process(self) -> None:
        """Raise OSError (EINVAL) in a process that has not opened it."""
        if self._refusal is not None and not self._is_closed:
            self.check_usable()

    def check_readable(self) -> None:
        """Raise the error that ended the connection, or what `check_usable` raises."""
        self.check_usable()
        lost = self.session.lost
        if lost is not None:
            raise OSError(lost.errno, lost.strerror) from lost

    # The end, and what comes after it

    def end(self, stream: Stream, error: OSError) -> None:
        """The connection is gone: tell everyone who waits, and have it made anew if that is wanted."""
        if stream is not self.stream or self.lost is not None:
            return
        if self._reconnecting is None or not isinstance(error, ConnectionResetError):
            self._lose(error)
            return
        self.readers.mend()
        waiting = self._renew(self._reconnecting.no_stream, error)
        self._reconnecting.begin(self)
        self._tell(waiting, error)

    def _lose(self, error: OSError) -> None:
        self._unsent = b""
        self._tell(self.session.cut(error), error)

    def _tell(self, waiting: list[Receiver], error: OSError) -> None:
        for receiver in waiting:
            receiver.on_lost(error)
        self.readers.wake_all()

    def _renew(self, stream: Stream, error: OSError) -> list[Receiver]:
        """Go on with another stream; what arrived is kept. Returns who waits for answers that will not come."""
        waiting = self.session.cut(error)
        arrived, self.session = self.session.inbox, Session(encode=self._encode)
        self.session.inbox = arrived
        self._unsent = b""
        old, self.stream = self.stream, stream
        self._retire(old)
        return waiting

    def _retire(self, stream: Stream) -> None:
        self.retired.append(stream)
        for watcher in tuple(self.watchers):
            watcher.stream_changed()
        if self.readers.is_led:
            stream.shutdown(socket.SHUT_RDWR)  # ends the leader's system call
        self.close_retired()

    def close_retired(self) -> None:
        """Close the streams of the past unless somebody is inside."""
        with self.lock:
            if self.watchers or self.readers.is_led:
                return
            retired, self.retired = self.retired, []
            for stream in retired:
                stream.close()

    def reopen(self, stream: Stream) -> None:
        """Go on with another connection: what was in flight fails with ECONNRESET, what arrived is kept."""
        with self.lock:
            self.check_usable()
            if self._reconnecting is not None:
                self._reconnecting.forget()
            error = OSError(errno.ECONNRESET, "RPC aborted due to broker reconnect")
            waiting = self._renew(stream, error)
            self.readers.mended()
            self._tell(waiting, error)

    def mended(self, stream: Stream | None) -> None:
        """The end of an outage: a stream to go on with, None for a connection that stays lost."""
        with self.lock:
            if not self.is_mending:  # closed, or opened anew by hand
                if stream is not None:
                    stream.close()
                return
            if stream is None:
                self._lose(reset_error())
            else:
                self.stream = stream
            self.readers.mended()

    def close(self) -> None:
        """Hang up; whoever waits gets EINVAL. In a forked child: let go of the parent's stream, no more."""
        with self.lock:
            is_ours, is_closed, self._is_closed = os.getpid() == self._pid, self._is_closed, True
            if is_closed:
                return
            if not is_ours:
                self.stream.close()
                return
            if self._reconnecting is not None:
                self._reconnecting.stop()
            self._refusal = OSError(errno.EINVAL, "handle is closed; open a new one")
            self._lose(self._refusal)
            self.readers.mended()
            self._retire(self.stream)

    def after_fork(self) -> None:
        """In the child: two processes on one stream would cut each other's messages in pieces."""
        self.lock = threading.RLock()
        self.readers = Readers(self.lock)
        self._refusal = OSError(errno.EINVAL, f"handle belongs to process {self._pid}; open a new one after fork")


def reset_error() -> OSError:
    """What a peer that has hung up leaves to those who wait."""
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


_links: weakref.WeakSet[Connection] = weakref.WeakSet()


def _after_fork() -> None:
    for link in tuple(_links):
        link.after_fork()


os.register_at_fork(after_in_child=_after_fork)
