# SPDX-License-Identifier: Apache-2.0
"""A descriptor that ends a reactor's wait, from a signal or another thread."""

from __future__ import annotations

import contextlib
import os
import signal

__all__ = ["Wakeup"]

_DRAIN_BYTES = 4096


class Wakeup:
    """A pipe to itself. Bare descriptors, which the garbage collector may drop in any order."""

    def __init__(self) -> None:
        self._ours = self._theirs = -1  # for `close`, should the system be out of descriptors
        self._ours, self._theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._displaced = -1

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable after `wake`, until `drain`."""
        return self._ours

    def wake(self) -> None:
        """Make it readable. From any thread or signal handler."""
        with contextlib.suppress(BlockingIOError):  # full: readable already
            os.write(self._theirs, b"\0")

    def drain(self, _events: int) -> None:
        """Make it unreadable again."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._ours, _DRAIN_BYTES)) == _DRAIN_BYTES:
                pass

    def listen_to_signals(self) -> None:
        """Wake at each signal. Main thread only.

        A handler written in Python runs between two bytecodes, so a signal just before the wait would
        otherwise be acted on only after it; the interpreter writes to this descriptor at once.
        """
        self._displaced = signal.set_wakeup_fd(self._theirs, warn_on_full_buffer=False)

    def ignore_signals(self) -> None:
        """Undo `listen_to_signals`."""
        signal.set_wakeup_fd(self._displaced)

    def close(self) -> None:
        """Give both descriptors back. Again: nothing."""
        ends, self._ours, self._theirs = (self._ours, self._theirs), -1, -1
        for end in ends:
            if end >= 0:
                os.close(end)
