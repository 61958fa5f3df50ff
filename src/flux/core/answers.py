# SPDX-License-Identifier: Apache-2.0
"""The results of one request, between the connection that brings them and the futures that take them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_MSGFLAG_STREAMING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet

__all__ = ["Answers"]

_MANY = 16  # results in a list: then taking out the first costs more than a deque


class Answers(msgspec.Struct, eq=False):
    """What has arrived for one request; the protocol state adds, the futures of the request take.

    It knows neither of them, so a future that nobody holds any more goes at once, and its handle with it.
    Guarded by the link's lock, except that anyone may look whether `results` is empty.
    """

    results: list[Packet | OSError] | deque[Packet | OSError] = msgspec.field(default_factory=list)
    """Most requests have one, for which a deque would be twelve times too large; a stream may have many."""
    is_finished: bool = False
    listeners: tuple[Callable[[], None], ...] = ()
    tag: int = 0
    holders: int = 0

    def on_response(self, response: Packet) -> None:
        """Take an answer; the last one is an error, or any without the streaming flag."""
        if response.aux1 or not response.flags & FLUX_MSGFLAG_STREAMING:
            self.is_finished = True
        self.add(response)

    def on_lost(self, error: OSError) -> None:
        """Take an error that ends the wait."""
        self.is_finished = True
        self.add(error)

    def add(self, result: Packet | OSError) -> None:
        """Take a result after which others may come."""
        results = self.results
        if len(results) == _MANY and isinstance(results, list):
            self.results = results = deque(results)
        results.append(result)
        for listener in self.listeners:
            listener()

    def stop_telling(self, listener: Callable[[], None]) -> None:
        """Remove a listener; compared by equality, since each access makes a new bound method."""
        if self.listeners == (listener,):
            self.listeners = ()
        else:
            self.listeners = tuple(other for other in self.listeners if other != listener)
