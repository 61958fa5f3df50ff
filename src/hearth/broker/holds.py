# SPDX-License-Identifier: Apache-2.0
"""Who is not read for now, and until who has taken what is queued for it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Holds"]


class Holds:
    """What holds one peer back, which may be itself, and whom it holds back.

    pause is called when the peer is to be read no more, resume when it is to be read again.
    """

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause, self._resume = pause, resume
        self._waits_for: set[Holds] = set()
        self._waiting: set[Holds] = set()
        self.is_stalled = False
        """Whether the peer has taken nothing for a while although much waits for it."""

    @property
    def is_held(self) -> bool:
        """Whether the peer is not to be read."""
        return bool(self._waits_for)

    @property
    def is_waited_for(self) -> bool:
        """Whether it holds anybody back."""
        return bool(self._waiting)

    def waits_for(self, other: Holds) -> bool:
        """Whether the other holds this one back."""
        return other in self._waits_for

    def wait_for(self, other: Holds) -> None:
        """Be held back until the other lets go. Not if they would wait for each other for ever."""
        if other in self._waits_for or self._is_stuck_with(other):
            return
        if not self._waits_for:
            self._pause()
        self._waits_for.add(other)
        other._waiting.add(self)

    def stall(self) -> None:
        """The peer takes nothing. It is read on where it may be waiting for us as we for it."""
        self.is_stalled = True
        for other in [other for other in self._waits_for if self._is_stuck_with(other)]:
            self._go_on(other)

    def let_go(self) -> None:
        """There is room again, or the peer is gone: hold nobody back any more."""
        for each in list(self._waiting):
            each._go_on(self)

    def forget(self) -> None:
        """The peer is gone, and waits for nobody."""
        self.let_go()
        for other in self._waits_for:
            other._waiting.discard(self)
        self._waits_for.clear()

    def _go_on(self, other: Holds) -> None:
        self._waits_for.discard(other)
        other._waiting.discard(self)
        if not self._waits_for:
            self._resume()

    def _is_stuck_with(self, other: Holds) -> bool:
        """Whether the other waits for this one in the end, and nobody on the way takes anything."""
        seen: set[Holds] = set()
        ahead = [other]
        while ahead:
            each = ahead.pop()
            if each.is_stalled and each not in seen:
                if each is self:
                    return True
                seen.add(each)
                ahead += each._waits_for
        return False
