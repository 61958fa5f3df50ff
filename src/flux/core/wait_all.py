# SPDX-License-Identifier: Apache-2.0
"""Several futures as one, which waits for all of them."""

from __future__ import annotations

import errno
import time

from flux.core.composite import CompositeFuture

__all__ = ["WaitAllFuture"]


class WaitAllFuture(CompositeFuture):
    """Has a result, None, once all children have one; if one of them failed, its errno with that errno's own text."""

    __slots__ = ()

    def _is_settled(self) -> bool:
        return all(child.is_ready() for child in self.children)

    def _wait(self, deadline: float | None) -> None:
        for child in self.children:
            child.wait_for(-1.0 if deadline is None else max(0.0, deadline - time.monotonic()))
        self._settle()

    def _fulfill_from_children(self) -> None:
        errors = [error for child in self.children if (error := child._error()) is not None]
        if errors:
            self.fulfill_error(errors[0].errno or errno.EIO)
        else:
            self.fulfill()
