# SPDX-License-Identifier: Apache-2.0
"""A future made of futures: what waiting for all of them and for any of them have in common."""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING

from flux.core.future_ext import FutureExt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flux.core.future import Future

__all__ = ["CompositeFuture"]


class CompositeFuture(FutureExt):
    """Has a result once enough children have one.

    children: the futures pushed so far, in order. `then` needs a handle and takes that of the first child
    that has one; all children should be of that handle, for its reactor is the one that runs.
    """

    __slots__ = ("_names", "children")

    def __init__(self, children: Iterable[Future] | None = None) -> None:
        super().__init__(CompositeFuture._listen)
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

    @abstractmethod
    def _is_settled(self) -> bool:
        """Whether the children that are ready are enough."""

    @abstractmethod
    def _fulfill_from_children(self) -> None:
        """Have the result that follows from theirs."""

    def _is_pending(self) -> bool:
        return not self._is_settled() and any(child._is_pending() for child in self.children if not child.is_ready())

    def _listen(self) -> None:
        """Have each child begin, and tell us."""
        for child in self.children:
            with child._lock():
                if child.is_ready():
                    continue
                child._answers.listeners += (self._child_got_ready,)
            child._begin()
        self._child_got_ready()

    def _stop_listening(self) -> None:
        for child in self.children:
            with child._lock():
                child._answers.stop_telling(self._child_got_ready)

    def _child_got_ready(self) -> None:
        if self._is_settled():
            self._settle()
        else:
            self._keep_alive()

    def _settle(self) -> None:
        """The children that are ready are enough."""
        self._stop_listening()
        if not self._answers.results:
            self._fulfill_from_children()
