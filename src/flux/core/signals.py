# SPDX-License-Identifier: Apache-2.0
"""The signals of the process, shared out among those who watch them."""

from __future__ import annotations

import errno
import signal
import threading
from typing import TYPE_CHECKING

from flux.core.thread import this_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["in_main_thread", "unwatch", "watch"]

_watchers: dict[int, list[Callable[[], None]]] = {}
_previous: dict[int, signal._HANDLER] = {}


def in_main_thread() -> bool:
    """Whether this is the thread in which Python delivers signals."""
    return threading.current_thread() is threading.main_thread()


def watch(signum: int, notify: Callable[[], None]) -> None:
    """Have notify called in the main thread, between two bytecodes, for each signal.

    The first watcher displaces the handler in place, the last one to go puts it back. Raises OSError
    (EINVAL) for a signal that cannot be caught, or outside the main thread.
    """
    if not in_main_thread():
        raise OSError(errno.EINVAL, "signals can be watched in the main thread only")
    if signum not in _watchers:
        _previous[signum] = signal.signal(signum, _on_signal)
        _watchers[signum] = []
    _watchers[signum].append(notify)


def unwatch(signum: int, notify: Callable[[], None]) -> None:
    """Undo one `watch`."""
    watchers = _watchers[signum]
    watchers.remove(notify)
    if not watchers:
        del _watchers[signum]
        previous = _previous.pop(signum)
        # None: a handler that was not installed from Python, which Python cannot put back
        signal.signal(signum, signal.SIG_DFL if previous is None else previous)


def _on_signal(signum: int, _frame: FrameType | None) -> None:
    for notify in tuple(_watchers.get(signum, ())):
        notify()
    if signum == signal.SIGINT and this_thread.is_blocked:
        raise KeyboardInterrupt  # no reactor gets to act on it while a blocking call waits
