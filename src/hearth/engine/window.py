# SPDX-License-Identifier: Apache-2.0
"""How many tasks an executor may hold at once: enough to never wait for us, too few to hoard."""

from __future__ import annotations

__all__ = ["Window"]

_TARGET_S = 0.010
"""Work in the executor's hands. A round trip under full load takes some milliseconds; work held ten
milliseconds too long by one executor while another is idle is hardly noticed."""
_MAX = 512
_WEIGHT = 0.5  # of the newest report: adapts within a few reports, survives one odd task


class Window:
    """Starts at one and follows the measured task time: long tasks keep it at one, microsecond tasks open it wide."""

    __slots__ = ("_task_s", "size")

    def __init__(self) -> None:
        self.size = 1
        self._task_s: float | None = None

    def close(self) -> None:
        """The executor gave tasks back, stuck in one: no more beside that until it reports it done."""
        self.size = 1

    def measure(self, tasks: int, busy_s: float) -> None:
        """A report arrived: so many tasks, so many seconds spent in the service."""
        task_s = max(1e-7 * tasks, busy_s) / tasks  # in this order a NaN from the executor counts for nothing
        if self._task_s is not None:
            task_s = _WEIGHT * task_s + (1 - _WEIGHT) * self._task_s
        self._task_s = task_s
        self.size = max(1, min(_MAX, int(_TARGET_S / task_s)))
