# SPDX-License-Identifier: Apache-2.0
"""Timers in the order they fall due. The clock is the caller's."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Timer", "TimerQueue"]

_SWEEP_AT = 64  # cancelled timers to put up with before the heap is rebuilt without them


class Timer:
    """One call to come. Once cancelled it stays in the heap, as an empty shell, until swept out."""

    __slots__ = ("_callback", "_due", "_order", "_queue")

    def __init__(self, queue: TimerQueue, due: float, order: int, callback: Callable[[], object]) -> None:
        self._queue, self._due, self._order = queue, due, order
        self._callback: Callable[[], object] | None = callback

    def __lt__(self, other: Timer) -> bool:
        return (self._due, self._order) < (other._due, other._order)

    @property
    def due(self) -> float:
        """When, on the caller's clock."""
        return self._due

    @property
    def order(self) -> int:
        """How many timers the queue had been given, this one included."""
        return self._order

    @property
    def is_cancelled(self) -> bool:
        """Whether the call was cancelled or has been made."""
        return self._callback is None

    def cancel(self) -> None:
        """Make the call not happen. Again, or after it has happened: nothing."""
        if self._callback is not None:
            self._callback = None
            self._queue.note_cancelled(self)

    def take(self) -> Callable[[], object] | None:
        """The call to make now; None when it was cancelled meanwhile."""
        callback, self._callback = self._callback, None
        return callback


class TimerQueue:
    """A heap of timers; equal times come in the order they were added.

    Any thread may add and cancel; the heap itself is touched by the one only who takes timers out.
    """

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._added: deque[Timer] = deque()  # not in the heap yet
        self._order = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) + len(self._added)

    def add(self, due: float, callback: Callable[[], object]) -> Timer:
        """Have callback called once, at `due` or soon after."""
        self._order += 1
        timer = Timer(self, due, self._order, callback)
        self._added.append(timer)
        return timer

    def note_cancelled(self, timer: Timer) -> None:
        """A timer of this queue was cancelled."""
        try:
            self._added.remove(timer)
        except ValueError:  # in the heap already
            self._cancelled += 1

    def _sort(self) -> None:
        """Take in what was added, and keep the shells from outnumbering the timers."""
        while self._added:
            heapq.heappush(self._heap, self._added.popleft())
        if self._cancelled > _SWEEP_AT and self._cancelled * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if not timer.is_cancelled]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_due(self) -> float | None:
        """When the earliest timer falls due, None without timers."""
        self._sort()
        heap = self._heap
        while heap and heap[0].is_cancelled:
            heapq.heappop(heap)
            self._cancelled = max(0, self._cancelled - 1)
        return heap[0].due if heap else None

    def pop_due(self, now: float, mark: int) -> Callable[[], object] | None:
        """The call of the earliest timer that is due and was added before `mark` was taken; None without one.

        Timers come out one by one, so that an exception between two calls loses none.
        """
        due = self.next_due()
        if due is None or due > now or self._heap[0].order > mark:
            return None
        return heapq.heappop(self._heap).take()

    @property
    def mark(self) -> int:
        """Tells timers added up to now from later ones."""
        return self._order
