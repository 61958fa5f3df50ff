# SPDX-License-Identifier: Apache-2.0
"""Inputs on their way: kept until their answers are here, in case they must be sent again."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from flamepy.protocol import TaskOptions

_Batch = tuple[int, "list[bytes | None]", "TaskOptions | None"]
"""First number, inputs, and the options of all of them."""

__all__ = ["SentInputs"]

_SWEEP_BYTES = 64 << 20
_ITEM_BYTES = 64  # what an input weighs besides its bytes

_first = itemgetter(0)


class SentInputs:
    """By the client's numbers. Kept a batch at a time, which costs next to nothing a task; now and then swept."""

    def __init__(self) -> None:
        self._batches: list[_Batch] = []
        """In the order of the numbers."""
        self._bytes = 0
        self._limit = _SWEEP_BYTES

    def keep(self, first: int, inputs: list[bytes | None], options: TaskOptions | None) -> None:
        """Remember a batch. The list is ours from now on."""
        batches = self._batches
        if batches and batches[-1][0] > first:  # sent again
            batches.insert(bisect_right(batches, first, key=_first), (first, inputs, options))
        else:
            batches.append((first, inputs, options))
        self._bytes += _weight(inputs)

    @property
    def is_heavy(self) -> bool:
        """Whether it is time to let go of what is answered."""
        return self._bytes > self._limit

    def drop_answered(self, unanswered: Container[int]) -> None:
        """Keep only these numbers."""
        swept: list[_Batch] = []
        for first, inputs, options in self._batches:
            run: list[bytes | None] = []
            for number, data in enumerate(inputs, first):
                if number in unanswered:
                    run.append(data)
                elif run:
                    swept.append((number - len(run), run, options))
                    run = []
            if run:
                swept.append((first + len(inputs) - len(run), run, options))
        self._batches = swept
        self._bytes = sum(_weight(inputs) for _, inputs, _ in swept)
        self._limit = max(_SWEEP_BYTES, 2 * self._bytes)

    def take(self, first: int, count: int) -> list[_Batch]:
        """The batches of these numbers, all of which are kept; they are kept no longer."""
        taken: list[_Batch] = []
        end = first + count
        at = max(0, bisect_right(self._batches, first, key=_first) - 1)
        remaining = self._batches[:at]
        for start, inputs, options in self._batches[at:]:
            low, high = max(first, start) - start, min(end, start + len(inputs)) - start
            if low >= high:
                remaining.append((start, inputs, options))
                continue
            taken.append((start + low, inputs[low:high], options))
            if low:
                remaining.append((start, inputs[:low], options))
            if high < len(inputs):
                remaining.append((start + high, inputs[high:], options))
        assert sum(len(inputs) for _, inputs, _ in taken) == count, "an input that has no answer was let go"
        self._batches = remaining
        self._bytes -= sum(_weight(inputs) for _, inputs, _ in taken)
        return taken


def _weight(inputs: list[bytes | None]) -> int:
    return sum(map(len, filter(None, inputs))) + _ITEM_BYTES * len(inputs)
