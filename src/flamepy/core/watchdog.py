# SPDX-License-Identifier: Apache-2.0
"""A second pair of eyes in a service process: for a task that takes long, and for an instance that is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["Watchdog"]

_LOOK_MS = 5
"""A task that takes longer than this while others wait behind it holds them up for no reason."""
_LOOK_MAX_MS = (
    80  # while one task goes on and on: those that arrive behind it may wait so long, and looking costs little
)
_END_MS = 1000  # for the service to notice the end by itself, before the process is told by signal
_HANG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Watchdog:
    """A thread that sleeps in poll(2) and costs nothing until armed, or until the other side hangs up.

    step_in(done_before) returns the number of tasks done by now, or None when there is nothing to watch.
    find_instance() is called when the other side has hung up: whether it is there again, None if that is not
    known yet. Both are called from the watchdog's thread.
    """

    def __init__(
        self,
        stream: socket.socket,
        step_in: Callable[[int], int | None],
        find_instance: Callable[[], bool | None],
    ) -> None:
        self._stream = stream
        self._step_in = step_in
        self._find_instance = find_instance
        self._is_armed = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="flamepy watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._wake_write)
        self._thread.join()
        os.close(self._wake_read)

    def arm(self) -> None:
        """There is work to look after."""
        if not self._is_armed:
            self._is_armed = True
            os.write(self._wake_write, b"!")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._stream, _HANG_UP & ~select.POLLERR & ~select.POLLHUP)
        poll.register(self._wake_read, select.POLLIN)
        done: int | None = None
        look_ms = _LOOK_MS
        while True:
            ready = dict(poll.poll(None if done is None else look_ms))
            if ready.get(self._stream.fileno(), 0) & _HANG_UP:
                if not self._find():
                    self._end()
                    return
                continue
            if self._wake_read in ready:
                if not os.read(self._wake_read, 64):
                    return
                done, look_ms = -1, _LOOK_MS
            elif done is not None:
                self._is_armed = False  # from here on a new batch arms again, and is looked after from its start
                before, done = done, self._step_in(done)
                self._is_armed = done is not None
                look_ms = min(2 * look_ms, _LOOK_MAX_MS) if done == before else _LOOK_MS

    def _find(self) -> bool:
        """Wait until it is known whether there is an instance again."""
        while (is_there := self._find_instance()) is None:
            if not self._has_time():
                return True  # the service ends by itself; the next look finds that, too
        return is_there

    def _has_time(self) -> bool:
        """Let some time pass; False if the service is about to end meanwhile."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLHUP)
        return not poll.poll(_LOOK_MS)

    def _end(self) -> None:
        """The instance is gone. Idle, the service ends by itself; busy, its work is of use to nobody."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        for signum in (signal.SIGTERM, signal.SIGKILL):
            while poll.poll(_END_MS):
                if not os.read(self._wake_read, 64):  # not just armed once more
                    return
            with contextlib.suppress(ProcessLookupError):
                os.kill(os.getpid(), signum)
