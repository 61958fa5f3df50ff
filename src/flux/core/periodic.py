# SPDX-License-Identifier: Apache-2.0
"""The watcher of the wall clock."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from flux.core.watchers import ReactorWatcher, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.core.handle import Flux
    from flux.core.timers import Timer

__all__ = ["PeriodicWatcher"]

_LOOK_S = 1.0
"""How often to look at the wall clock, which may be set; how late a call can be after it was."""


class PeriodicWatcher(ReactorWatcher):
    """Calls cb(handle, watcher, revents, args) whenever the wall clock shows offset + n * interval seconds.

    offset: in seconds since the epoch or, the same, after a whole multiple of the interval. interval: 0
    calls once, when the clock shows the offset or more. The times that the clock jumped over, or that
    went by while the process could not run, are made up for with one call. When the clock is set, calls
    follow the new time within a second. Raises OSError (EINVAL) for negative numbers.
    """

    def __init__(
        self,
        flux_handle: Flux,
        offset: float | str,
        interval: float | str,
        callback: Callable[..., object],
        args: Any = None,
    ) -> None:
        self.offset, self.interval = seconds(offset), seconds(interval)
        super().__init__(flux_handle, callback, args)
        self._due = 0.0
        self._timer: Timer | None = None

    def _arm(self) -> None:
        self._due = self._next(time.time())
        self._look_later()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _next(self, now: float) -> float:
        """The first time after `now` to call at, on the wall clock."""
        if not self.interval:
            return self.offset
        due = self.offset + (math.floor((now - self.offset) / self.interval) + 1) * self.interval
        return due if due > now else due + self.interval  # rounding may have lost the step

    def _look_later(self) -> None:
        wait = min(max(0.0, self._due - time.time()), _LOOK_S)
        self._timer = self._reactor.call_at(self._reactor.now() + wait, self._look)

    def _look(self) -> None:
        now = time.time()
        is_due = now >= self._due
        if self.interval:
            self._due = self._next(now)
            self._look_later()
        elif is_due:
            self.stop()
        else:
            self._look_later()
        if is_due:
            self._call(0)
