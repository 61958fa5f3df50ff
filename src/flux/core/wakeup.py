# SPDX-License-Identifier: Apache-2.0
"""A descriptor that ends a reactor's wait, from a signal or another thread."""

from __future__ import annotations

import contextlib
import signal
import socket

__all__ = ["Wakeup"]

_DRAIN_BYTES = 4096


class Wakeup:
    """A socket to itself."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._displaced = -1

    def fileno(self) -> int:
        """Readable after `wake`, until `drain`."""
        return self._ours.fileno()

    def wake(self) -> None:
        """Make it readable. From any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):  # full: readable already
            self._theirs.send(b"\0")

    def drain(self, _events: int) -> None:
        """Make it unreadable again."""
        with contextlib.suppress(BlockingIOError):
            while len(self._ours.recv(_DRAIN_BYTES)) == _DRAIN_BYTES:
                pass

    def listen_to_signals(self) -> None:
        """Wake at each signal. Main thread only.

        A handler written in Python runs between two bytecodes, so a signal just before the wait would
        otherwise be acted on only after it; the interpreter writes to this descriptor at once.
        """
        self._displaced = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)

    def ignore_signals(self) -> None:
        """Undo `listen_to_signals`."""
        signal.set_wakeup_fd(self._displaced)

    def close(self) -> None:
        """Give both descriptors back."""
        self._ours.close()
        self._theirs.close()
