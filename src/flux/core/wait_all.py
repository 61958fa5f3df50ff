# SPDX-License-Identifier: Apache-2.0
"""Several futures as one."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from flux.core.future_ext import FutureExt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flux.core.future import Future

__all__ = ["WaitAllFuture"]


class WaitAllFuture(FutureExt):
    """Has a result, None, once all children have one; if one of them failed, its errno with that errno's own text.

    children: the futures pushed so far, in order. `then` needs a handle and takes that of the first child
    that has one; all children should be of that handle, for its reactor is the one that runs.
    """

    __slots__ = ("_names", "children")

    def __init__(self, children: Iterable[Future] | None = None) -> None:
        super().__init__(WaitAllFuture._listen)
        self.children: list[Future] = []
        self._names: set[str] = set()
        for child in children or ():
            self.push(child)

    def push(self, child: Future, name: str | None = None) -> None:
        """Wait for one more, before any waiting begins. Raises OSError (EEXIST) for a name given before."""
        name = str(len(self.children)) if name is None else name
        if name in self._names:
            raise OSError(errno.EEXIST, f"a child is named {name!r} already")
        self._names.add(name)
        self.children.append(child)
        if self._handle is None:
            self._handle = child._handle

    def _is_pending(self) -> bool:
        return any(not child.is_ready() and child._is_pending() for child in self.children)

    def _listen(self) -> None:
        """Begin for `then`: have each child begin, and tell us."""
        for child in self.children:
            with child._lock():
                if child.is_ready():
                    continue
                child._answers.listeners += (self._child_got_ready,)
            child._begin()
        self._child_got_ready()

    def _child_got_ready(self) -> None:
        if all(child.is_ready() for child in self.children):
            self._fulfill_from_children()
        else:
            self._keep_alive()

    def _wait(self, deadline: float | None) -> None:
        for child in self.children:
            child.wait_for(-1.0 if deadline is None else max(0.0, deadline - time.monotonic()))
        if not self._answers.results:  # the last child may have told us
            self._fulfill_from_children()

    def _fulfill_from_children(self) -> None:
        for child in self.children:
            with child._lock():
                child._answers.stop_telling(self._child_got_ready)
        errors = [error for child in self.children if (error := child._error()) is not None]
        if errors:
            self.fulfill_error(errors[0].errno or errno.EIO)
        else:
            self.fulfill()
