# SPDX-License-Identifier: Apache-2.0
"""Several futures as one, which waits for the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.core.composite import CompositeFuture

if TYPE_CHECKING:
    from flux.core.reactor import Reactor

__all__ = ["WaitAnyFuture"]


class WaitAnyFuture(CompositeFuture):
    """Has a result, None, as soon as one child has one, a good one or an error: look which of `children` are ready.

    The others go on; their results tell nobody here. Without children no result can come.
    """

    __slots__ = ()

    def _is_settled(self) -> bool:
        return any(child.is_ready() for child in self.children)

    def _fulfill_from_children(self) -> None:
        self.fulfill()

    def _run(self, reactor: Reactor, deadline: float | None) -> None:
        self._stop_listening()
        self._listen()  # anew: between two waits nobody listens, so that the connection does not hold us
        calls = self._aside[1] if self._aside is not None and self._is_pending() else None
        if calls is not None:
            calls.wait_for(self)  # has it read the connection, as for children with a callback
        try:
            if not self._answers.results:
                super()._run(reactor, deadline)
        finally:
            if calls is not None:
                calls.forget(self)
            if self._then is None:
                self._stop_listening()
