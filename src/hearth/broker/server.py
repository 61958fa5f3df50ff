# SPDX-License-Identifier: Apache-2.0
"""The broker's shell: listens, accepts, and ends each batch with one write a connection."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import struct
import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from flux.packet import MAX_MESSAGE_BYTES
from hearth.broker.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hearth.broker.access import Access
    from hearth.broker.credentials import Credentials
    from hearth.broker.router import Router

__all__ = ["GUEST_CONNECTIONS_MAX", "GUEST_MESSAGE_MAX_BYTES", "Broker"]

log = logging.getLogger(__name__)

GUEST_CONNECTIONS_MAX = 32  # of one uid
GUEST_MESSAGE_MAX_BYTES = 1 << 20  # to take one apart as JSON holds everybody up for a tenth of a second at most

_BACKLOG = 512
_READ_BYTES = 256 << 10
_ACCEPT_PAUSE_S = 0.5  # out of file descriptors: trying again at once would spin
_PATH_MAX = 107
_UCRED = struct.Struct("=iII")  # struct ucred: pid, uid, gid in host order


class _Refusal(NamedTuple):
    errnum: int
    why: str

    def __str__(self) -> str:
        return self.why


class Broker:
    """Serves the message plane of one instance on Unix sockets.

    All of it lives on one event loop. Whoever makes the router or a service send something outside
    of a read (a timer, a process that ended) calls `settle` afterwards.
    """

    def __init__(self, router: Router, access: Access, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.router = router
        self.max_message_bytes = max_message_bytes
        self.max_guest_message_bytes = min(max_message_bytes, GUEST_MESSAGE_MAX_BYTES)
        self.read_buffer = memoryview(bytearray(_READ_BYTES))
        """One for all connections, since one is read at a time: a buffer made for each read costs 10 µs."""
        self.access = access
        self.connects = 0
        """How many connections were ever let in."""
        self._loop = asyncio.get_running_loop()
        self._listeners: list[tuple[socket.socket, Path]] = []
        self._connections: set[Connection] = set()
        self._guests: Counter[int] = Counter()
        """How many connections each uid has that is not the owner."""
        self._unsettled: list[Connection] = []
        self._before_write: list[Callable[[], None]] = []

    def before_write(self, hook: Callable[[], None]) -> None:
        """Call hook once at the end of each batch, before anything is written."""
        self._before_write.append(hook)

    def settle(self) -> None:
        """End of a batch: let the services finish theirs, then write once to each connection."""
        for hook in self._before_write:
            hook()
        while self._unsettled:
            connections, self._unsettled = self._unsettled, []
            for connection in connections:
                connection.flush()

    def settle_later(self, connection: Connection) -> None:
        """The connection has something to write when the batch is over."""
        self._unsettled.append(connection)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Those there are now."""
        return tuple(self._connections)

    @property
    def has_unsent(self) -> bool:
        """Whether a connection has not taken all that was sent to it."""
        return any(connection.has_unsent for connection in self._connections)

    # -- connections

    def listen(self, path: Path) -> None:
        """Accept connections on a Unix socket; a stale socket file is replaced.

        Raises OSError EINVAL if the path is longer than a socket address can be, EADDRINUSE if
        somebody listens there.
        """
        if len(os.fsencode(path)) > _PATH_MAX:
            raise OSError(errno.EINVAL, f"socket path is over {_PATH_MAX} bytes, choose a shorter --rundir: {path}")
        if _is_listened_to(path):
            raise OSError(errno.EADDRINUSE, f"an instance serves at {path} already; stop it or choose another --rundir")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o777)  # whoever may enter the folder may knock; SO_PEERCRED decides who gets in
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._listeners.append((listener, path))
        self._loop.add_reader(listener, self._on_knock, listener)

    def _on_knock(self, listener: socket.socket) -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("cannot accept a connection: %s; trying again in %s s", error, _ACCEPT_PAUSE_S)
                self._loop.remove_reader(listener)
                self._loop.call_later(_ACCEPT_PAUSE_S, self._resume, listener)
                return
            self._welcome(stream)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._on_knock, listener)

    def _welcome(self, stream: socket.socket) -> None:
        pid, uid, _ = _UCRED.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        credentials = self.access.admit(uid)
        refusal = self._refusal(uid, credentials)
        with contextlib.suppress(BrokenPipeError):  # it is gone already, but what it sent is still to be read
            stream.send(bytes([refusal.errnum if refusal else 0]))  # into an empty socket buffer never blocks
        if refusal or credentials is None:
            log.warning("refused pid %d, uid %d: %s", pid, uid, refusal)
            stream.close()
            return
        if not credentials.is_owner:
            self._guests[uid] += 1
        connection = Connection(self, stream, str(uuid.uuid4()), credentials, pid)
        self._connections.add(connection)
        self.connects += 1
        self.router.add(connection)

    def _refusal(self, uid: int, credentials: Credentials | None) -> _Refusal | None:
        """Why a peer may not come in, None if it may. Guests leave file descriptors to the owner, and to each other."""
        if credentials is None:
            return _Refusal(errno.EPERM, "it is not the owner, and access.allow-guest-user is not set")
        if credentials.is_owner:
            return None
        if self._guests[uid] >= GUEST_CONNECTIONS_MAX:
            return _Refusal(errno.EAGAIN, f"it has {GUEST_CONNECTIONS_MAX} connections, as many as a guest may have")
        if self._guests.total() >= _most_files() // 2:
            return _Refusal(errno.EAGAIN, "guests use half of the daemon's file descriptors")
        return None

    def on_closed(self, connection: Connection) -> None:
        """A connection ended; called by the connection itself."""
        if connection in self._connections and not connection.credentials.is_owner:
            self._leave(connection.credentials.userid)
        self._connections.discard(connection)
        self.router.remove(connection)

    def _leave(self, uid: int) -> None:
        self._guests[uid] -= 1
        if not self._guests[uid]:
            del self._guests[uid]

    def close(self) -> None:
        """Stop listening and end every connection after one last write."""
        for listener, path in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
            path.unlink(missing_ok=True)
        self._listeners.clear()
        self.settle()
        for connection in list(self._connections):
            connection.close(None)


def _most_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _is_listened_to(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # too many wait to be accepted already
        except OSError:
            return False
        return True
