# SPDX-License-Identifier: Apache-2.0
"""The pool of matchtags of one connection."""

from __future__ import annotations

import heapq

__all__ = ["TagPool"]

_FIRST_SIZE = 1024  # tag 0 counted, which is never given out


class TagPool:
    """Gives out the lowest free tag, from 1 on, as the C library does. Not thread-safe."""

    def __init__(self) -> None:
        self._freed: list[int] = []
        self._next = 1

    def allocate(self) -> int:
        """A tag that nobody else holds until it is freed."""
        if self._freed:
            return heapq.heappop(self._freed)
        tag = self._next
        self._next += 1
        return tag

    def free(self, tag: int) -> None:
        """Return a tag; the last response for it must have been received."""
        heapq.heappush(self._freed, tag)

    @property
    def available(self) -> int:
        """How many tags are free before the pool would have to grow: it starts with 1023 and doubles."""
        used = self._next - 1
        return max(_FIRST_SIZE, 1 << used.bit_length()) - 1 - self.in_use

    @property
    def in_use(self) -> int:
        """How many tags are given out now."""
        return self._next - 1 - len(self._freed)
