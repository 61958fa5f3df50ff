# SPDX-License-Identifier: Apache-2.0
"""How long a call may take: an epoch that a thread counts on, and compiled code that looks at it."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wasmtime import Engine, Store

__all__ = ["TimeLimit"]

_TICK_MIN_S, _TICK_MAX_S = 0.005, 1.0
_TICKS = 20  # a call is stopped at most one tick late: 5 % of the limit, at most one second
_GRACE_S = 2.0
"""A call that is still going on then waits in the host, for a clock or a stream, where no epoch is looked at."""


class TimeLimit:
    """Ends calls after `seconds`: with a trap, or, if they wait in the host, together with the process.

    A thread counts until `close`. Calls come from one other thread, one at a time.
    """

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.seconds = seconds
        self._tick_s = min(max(seconds / _TICKS, _TICK_MIN_S), _TICK_MAX_S)
        self._ticks = math.ceil(seconds / self._tick_s) + 1  # the first may be due at once
        self._until: float | None = None
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(engine,), name="wasm time limit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()
        self._thread.join()

    @contextlib.contextmanager
    def on(self, store: Store) -> Iterator[None]:
        """What happens inside has this much time."""
        store.set_epoch_deadline(self._ticks)
        self._until = time.monotonic() + self.seconds + self._tick_s
        try:
            yield
        finally:
            self._until = None

    def _run(self, engine: Engine) -> None:
        while not self._is_closed.wait(self._tick_s):
            engine.increment_epoch()
            until = self._until
            if until is not None and time.monotonic() > until + _GRACE_S:
                sys.stderr.write(f"a call of the component waits in its host beyond its {self.seconds:g} s: the end\n")
                sys.stderr.flush()
                os._exit(1)
