# SPDX-License-Identifier: Apache-2.0
"""Which file descriptors are watched for what, over one selector."""

from __future__ import annotations

import errno
import os
import selectors
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flux.constants import FLUX_POLLIN, FLUX_POLLOUT
from flux.errors import named_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Descriptors", "Watch"]

_IO = FLUX_POLLIN | FLUX_POLLOUT  # equal to selectors' EVENT_READ and EVENT_WRITE


@dataclass(eq=False)
class Watch:
    """One party's interest in one descriptor.

    events: FLUX_POLLIN, FLUX_POLLOUT or both; other bits are ignored. on_ready is called with those
    of them that the descriptor is ready for. is_inner: it serves the reactor, not a user.
    """

    fd: int
    events: int
    on_ready: Callable[[int], object]
    is_inner: bool = False


class Descriptors:
    """Several watches may share a descriptor. Level triggered.

    A hang-up or an error is reported as readiness for whatever was asked, for the next read or write
    tells what it is. Files that cannot be polled, regular ones, are ready at all times.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watches: dict[int, list[Watch]] = {}
        self._always_ready: set[int] = set()
        self._outer = 0
        self._is_closed = False
        self._pid = os.getpid()

    def add(self, watch: Watch) -> None:
        """Start a watch. Raises OSError (EBADF) when its descriptor is not open, EINVAL without an event to watch."""
        if self._is_closed or not watch.events & _IO:
            raise named_error(errno.EINVAL)
        watches = self._watches.setdefault(watch.fd, [])
        watches.append(watch)
        self._outer += not watch.is_inner
        try:
            self._update(watch.fd)
        except OSError:
            self.remove(watch)
            raise

    def remove(self, watch: Watch) -> None:
        """End a watch; its descriptor may be closed already."""
        watches = self._watches[watch.fd]
        watches.remove(watch)
        self._outer -= not watch.is_inner
        if not watches:
            del self._watches[watch.fd]
        self._update(watch.fd)

    def _update(self, fd: int) -> None:
        """Tell the selector the union of what is watched."""
        if self._is_closed or os.getpid() != self._pid:
            return  # after a fork the kernel's table is still the parent's too: leave it alone
        wanted = 0
        for watch in self._watches.get(fd, ()):
            wanted |= watch.events & _IO
        registered = self._selector.get_map().get(fd) if fd >= 0 else None
        if fd in self._always_ready:
            if not wanted:
                self._always_ready.discard(fd)
        elif not wanted:
            if registered is not None:
                self._selector.unregister(fd)
        elif registered is not None:
            self._selector.modify(fd, wanted)
        else:
            self._register(fd, wanted)

    def _register(self, fd: int, wanted: int) -> None:
        if fd < 0:
            raise named_error(errno.EBADF)
        try:
            self._selector.register(fd, wanted)
        except PermissionError:  # epoll refuses what can always be read and written
            self._always_ready.add(fd)

    def poll(self, timeout_s: float | None) -> list[tuple[Watch, int]]:
        """Wait until something is ready, at most timeout_s (None: without limit); each ready watch with its events."""
        if self._always_ready:
            timeout_s = 0
        ready = [(key.fd, events) for key, events in self._selector.select(timeout_s)]
        ready += [(fd, _IO) for fd in self._always_ready]
        return list(self._matched(ready))

    def _matched(self, ready: list[tuple[int, int]]) -> Iterator[tuple[Watch, int]]:
        for fd, events in ready:
            for watch in self._watches.get(fd, ()):
                revents = events & watch.events
                if revents:
                    yield watch, revents

    @property
    def has_outer(self) -> bool:
        """Whether somebody besides the reactor itself watches a descriptor."""
        return self._outer > 0

    def holds(self, watch: Watch) -> bool:
        """Whether it was added and not removed."""
        return watch in self._watches.get(watch.fd, ())

    def close(self) -> None:
        """Give the selector's own descriptor back. No watch can be added any more."""
        self._is_closed = True
        self._selector.close()
