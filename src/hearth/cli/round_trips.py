# SPDX-License-Identifier: Apache-2.0
"""How long answers took, in a few numbers. Pure."""

from __future__ import annotations

import math
from array import array
from typing import NamedTuple

__all__ = ["RoundTrips", "Summary"]

_KEPT_MAX = 1 << 20  # 8 MiB; a ping that runs for days needs no older ones


class Summary(NamedTuple):
    """In seconds; median and p99 are times that were measured, not means of two."""

    min: float
    avg: float
    median: float
    p99: float
    max: float


class RoundTrips:
    """Counts and times of requests. Median and p99 look at the last million answers only.

    Attributes: sent, received.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self._total_s = 0.0
        self._min_s = math.inf
        self._max_s = 0.0
        self._kept = array("d")

    def add(self, time_s: float) -> None:
        """One answer came."""
        if len(self._kept) < _KEPT_MAX:
            self._kept.append(time_s)
        else:
            self._kept[self.received % _KEPT_MAX] = time_s
        self.received += 1
        self._total_s += time_s
        self._min_s = min(self._min_s, time_s)
        self._max_s = max(self._max_s, time_s)

    @property
    def loss(self) -> float:
        """The part of the requests without an answer, 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 0.0

    def summary(self) -> Summary | None:
        """None without any answer."""
        if not self.received:
            return None
        ordered = sorted(self._kept)
        median, p99 = (ordered[math.ceil(part * len(ordered)) - 1] for part in (0.5, 0.99))
        return Summary(self._min_s, self._total_s / self.received, median, p99, self._max_s)
