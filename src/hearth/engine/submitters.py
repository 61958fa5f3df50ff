# SPDX-License-Identifier: Apache-2.0
"""Which of a client's own task numbers have become which tasks, so that submitting again makes none twice."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Submitter"]


class _Run(msgspec.Struct, gc=False):
    """Consecutive numbers that became consecutive tasks."""

    first: int
    task: int
    count: int


_first = attrgetter("first")


class Submitter:
    """One client's numbering within one session. Clients number upwards, so a few runs say it all."""

    __slots__ = ("_runs", "index", "name")

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        """What tasks carry instead of the name, from 1 on."""
        self._runs: list[_Run] = []

    def note(self, first: int, task: int, count: int) -> None:
        """The numbers from first on became the tasks from task on. None of them may be known."""
        runs = self._runs
        if runs and (last := runs[-1]).first + last.count == first and last.task + last.count == task:
            last.count += count
        elif not runs or runs[-1].first < first:
            runs.append(_Run(first, task, count))
        else:  # refused once, and submitted again
            runs.insert(bisect_right(runs, first, key=_first), _Run(first, task, count))

    def task_of(self, number: int) -> int | None:
        """The task that this number became, None if it became none."""
        at = bisect_right(self._runs, number, key=_first)
        run = self._runs[at - 1] if at else None
        return None if run is None or number >= run.first + run.count else run.task + number - run.first

    def known(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Of these numbers the ones that became tasks: (first number, first task, how many), in their order."""
        at = max(0, bisect_right(self._runs, first, key=_first) - 1)
        end = first + count
        for run in self._runs[at:]:
            if run.first >= end:
                return
            skipped = max(0, first - run.first)
            length = min(run.count, end - run.first) - skipped
            if length > 0:
                yield run.first + skipped, run.task + skipped, length

    def unknown(self, asked: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Of these (first, count) the ones that became no task."""
        gaps: list[tuple[int, int]] = []
        for first, count in asked:
            at = first
            for known, _, length in self.known(first, count):
                if known > at:
                    gaps.append((at, known - at))
                at = known + length
            if at < first + count:
                gaps.append((at, first + count - at))
        return gaps
