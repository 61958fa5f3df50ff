# SPDX-License-Identifier: Apache-2.0
"""Tasks that are out, and the order in which their outcomes are taken: the two that `Session.map` offers."""

from __future__ import annotations

import queue
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Protocol, TypeAlias

from flamepy.core.futures import Completions, Outcome, outcome_of

__all__ = ["AsCompleted", "InOrder", "Taken", "Window"]

_Task: TypeAlias = "Future[bytes | None]"

Taken: TypeAlias = "tuple[int, Outcome]"
"""How many were added before it, and what became of it."""


class Window(Protocol):
    """Futures that nobody else has, until they are taken. For one thread at a time.

    To take waits until one is done: that is what makes the window a bound.
    """

    taken: int

    def __len__(self) -> int:
        """How many were added and not yet taken."""

    def add(self, task: _Task) -> None:
        """Another one."""

    def take_nowait(self) -> Taken | None:
        """The next one if it is done. There must be one in the window, here and below."""

    def take(self, timeout: float | None) -> Taken | None:
        """The next one; None if it is not done within so many seconds."""

    def cancel(self) -> None:
        """Cancel those not taken."""


class InOrder:
    """Taken in the order in which they were added."""

    def __init__(self) -> None:
        self.taken = 0
        self._out: deque[_Task] = deque()
        self.add = self._out.append

    def __len__(self) -> int:
        return len(self._out)

    def take_nowait(self) -> Taken | None:
        """The first of them if it is done."""
        outcome = outcome_of(self._out[0])
        if outcome is None:
            return None
        del self._out[0]
        self.taken += 1
        return self.taken - 1, outcome

    def take(self, timeout: float | None) -> Taken | None:
        """The first of them; waits for it."""
        try:
            self._out[0].exception(timeout)
        except FutureTimeoutError:
            return None
        return self.take_nowait()

    def cancel(self) -> None:
        """Cancel those not taken."""
        for task in self._out:
            task.cancel()


class AsCompleted:
    """Taken in the order in which they are done."""

    def __init__(self) -> None:
        self.taken = 0
        self._done = Completions()
        self._numbers: dict[_Task, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, task: _Task) -> None:
        """Another one."""
        self._numbers[task] = self.taken + len(self._numbers)
        self._done.add(task)

    def take_nowait(self) -> Taken | None:
        """The first that is done, if any is."""
        try:
            return self._take(self._done.get_nowait())
        except queue.Empty:
            return None

    def take(self, timeout: float | None) -> Taken | None:
        """The first that is done; waits for it."""
        try:
            return self._take(self._done.get(timeout))
        except queue.Empty:
            return None

    def _take(self, task: _Task) -> Taken:
        outcome = outcome_of(task)
        assert outcome is not None
        self.taken += 1
        return self._numbers.pop(task), outcome

    def cancel(self) -> None:
        """Cancel those not taken."""
        for task in self._numbers:
            task.cancel()
