# SPDX-License-Identifier: Apache-2.0
"""Tasks that are out, and the order in which their outcomes are taken: `flamepy.core.windows` for asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flamepy.core.windows import Taken

__all__ = ["AsCompleted", "InOrder", "Window"]

_Task: TypeAlias = "asyncio.Future[bytes | None]"


class Window(Protocol):
    """Futures that nobody else has, until they are taken, and the one who waits for them."""

    taken: int

    def __len__(self) -> int:
        """How many were added and not yet taken."""

    def add(self, task: _Task) -> None:
        """Another one."""

    def take_nowait(self) -> Taken | None:
        """The next one if it is done."""

    async def wait(self, timeout_s: float | None) -> None:
        """Until the next one is done, somebody rings, or so many seconds are over."""

    def ring(self, _: object = None) -> None:
        """Have who waits look around."""

    def cancel(self) -> None:
        """Cancel those not taken."""


class _Bell:
    """One who waits, and what wakes him."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, timeout_s: float | None) -> None:
        """Until somebody rings, or so many seconds are over."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, self.ring)
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()

    def ring(self, _: object = None) -> None:
        """Wake him."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class InOrder(_Bell):
    """Taken in the order in which they were added."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self._out: deque[_Task] = deque()
        self.add = self._out.append

    def __len__(self) -> int:
        return len(self._out)

    def take_nowait(self) -> Taken | None:
        """The first of them if it is done."""
        if not self._out or not self._out[0].done():
            return None
        self.taken += 1
        return _taken(self.taken - 1, self._out.popleft())

    async def wait(self, timeout_s: float | None) -> None:
        """Until the first of them is done."""
        first = self._out[0] if self._out else None
        if first is not None:
            first.add_done_callback(self.ring)
        try:
            await super().wait(timeout_s)
        finally:
            if first is not None:
                first.remove_done_callback(self.ring)

    def cancel(self) -> None:
        """Cancel those not taken."""
        _cancel(self._out)


class AsCompleted(_Bell):
    """Taken in the order in which they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0
        self._done: deque[_Task] = deque()
        self._numbers: dict[_Task, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, task: _Task) -> None:
        """Another one."""
        self._numbers[task] = self.taken + len(self._numbers)
        task.add_done_callback(self._finish)

    def _finish(self, task: _Task) -> None:
        self._done.append(task)
        self.ring()

    def take_nowait(self) -> Taken | None:
        """The first that is done, if any is."""
        if not self._done:
            return None
        task = self._done.popleft()
        self.taken += 1
        return _taken(self._numbers.pop(task), task)

    def cancel(self) -> None:
        """Cancel those not taken."""
        _cancel(self._numbers)


def _taken(number: int, task: _Task) -> Taken:
    error = task.exception()
    return number, ((None, task.result()) if error is None else (error, None))


def _cancel(tasks: Iterable[_Task]) -> None:
    for task in tasks:
        if not task.cancel():
            task.exception()  # looked at, or asyncio would complain that nobody did
