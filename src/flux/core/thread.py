# SPDX-License-Identifier: Apache-2.0
"""What belongs to a thread rather than to a handle."""

from __future__ import annotations

import threading

__all__ = ["ThreadState", "raise_stored", "store", "this_thread"]


class ThreadState(threading.local):
    """One copy for each thread."""

    exception: BaseException | None = None
    """What a callback raised, kept until the reactor that called it returns."""
    running_reactors: int = 0
    is_blocked: bool = False
    """Inside a system call of a blocking call: a SIGINT may raise here and now."""
    is_interrupted: bool = False
    """A SIGINT has come that a running reactor will raise when it ends."""

    def block(self) -> None:
        """Say that a system call will now wait. Raises KeyboardInterrupt when a SIGINT has come already."""
        self.is_blocked = True
        if self.is_interrupted:
            raise KeyboardInterrupt


this_thread = ThreadState()


def store(exception: BaseException | None) -> BaseException | None:
    """Keep an exception for `raise_stored`; returns the one it replaces."""
    previous, this_thread.exception = this_thread.exception, exception
    return previous


def raise_stored() -> None:
    """Raise the exception kept for this thread, once; None kept, nothing happens."""
    stored = store(None)
    if stored is not None:
        raise stored from None
