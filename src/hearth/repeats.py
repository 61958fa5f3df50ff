# SPDX-License-Identifier: Apache-2.0
"""Keeps whoever is refused or cut again and again from filling the disk with lines about it."""

from __future__ import annotations

import logging

__all__ = ["RepeatFilter"]

_WINDOW_S = 60.0
_LINES_MAX = 600  # of one place in the source and one window: ten a second are read by nobody


class RepeatFilter(logging.Filter):
    """Lets so many records a minute pass from each place that logs; the next one says how many did not.

    Time is that of the records. Threads that log at once may miscount, no more.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, int], tuple[float, int]] = {}
        """By file and line of the source, of which there are few: since when, and how many."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes."""
        since, count = self._windows.get((record.pathname, record.lineno), (record.created, 0))
        if record.created - since >= _WINDOW_S:
            if count > _LINES_MAX:
                record.msg = f"{record.msg} ({count - _LINES_MAX} more like it were not told)"
            since, count = record.created, 0
        self._windows[record.pathname, record.lineno] = since, count + 1
        return count < _LINES_MAX
