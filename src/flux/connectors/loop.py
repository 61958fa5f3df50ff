# SPDX-License-Identifier: Apache-2.0
"""``loop://``: no server at all; what a handle sends it receives again, as from itself."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

from flux.connectors.transport import Transport
from flux.constants import FLUX_ROLE_NONE, FLUX_ROLE_OWNER, FLUX_USERID_UNKNOWN
from flux.errors import named_error
from flux.packet import Decoder, encode

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LoopStream", "open_loop"]

_ATTRIBUTES = {"rank": "0", "size": "1"}


def open_loop(_path: str, _timeout_s: float | None) -> Transport:
    """A loop of one's own."""
    return Transport(LoopStream(), _ATTRIBUTES)


class LoopStream:
    """Bytes that come back, with the sender's userid and role in messages that name none.

    Nobody else can send, so a read never waits: without a message it raises BlockingIOError.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._coming = bytearray()
        self._lock = threading.Lock()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable while something is coming

    def fileno(self) -> int:
        """Readable while there is something to receive, writable at all times."""
        return self._fd

    def send(self, data: Buffer, _flags: int = 0, /) -> int:
        """Take all of it. Raises ProtocolError for what is no message."""
        taken = bytes(data)
        for packet in self._decoder.feed(taken):
            if packet.userid == FLUX_USERID_UNKNOWN:
                packet.userid = os.getuid()
            if packet.rolemask == FLUX_ROLE_NONE:
                packet.rolemask = FLUX_ROLE_OWNER
            with self._lock:
                self._coming += encode(packet)
                os.eventfd_write(self._fd, 1)
        return len(taken)

    def recv(self, size: int, _flags: int = 0, /) -> bytes:
        """What was sent. Raises BlockingIOError when nothing was."""
        with self._lock:
            if not self._coming:
                raise named_error(errno.EAGAIN)
            data = bytes(self._coming[:size])
            del self._coming[:size]
            if not self._coming:
                os.eventfd_read(self._fd)
        return data

    def shutdown(self, _how: int, /) -> None:
        """Nobody waits here."""

    def close(self) -> None:
        """Give the descriptor back; what was not received is lost."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
