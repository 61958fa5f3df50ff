# SPDX-License-Identifier: Apache-2.0
"""How long, and how often, to try a lost instance again."""

from __future__ import annotations

import os
import time

from flamepy.core.types import FlameError, FlameErrorCode

__all__ = ["Patience", "reconnect_timeout"]

_VARIABLE = "FLAME_RECONNECT_TIMEOUT"
_DEFAULT_S = 30.0
"""A daemon that is started again by systemd, or by hand, is back by then."""
_FIRST_PAUSE_S = 0.01
_LAST_PAUSE_S = 0.25


def reconnect_timeout(given_s: float | None = None) -> float:
    """Seconds to try for: what is given, else FLAME_RECONNECT_TIMEOUT, else 30. 0: a lost instance is lost at once.

    Raises FlameError INVALID_CONFIG for a variable that is no such number.
    """
    text = os.environ.get(_VARIABLE, "")
    try:
        seconds = (float(text) if text else _DEFAULT_S) if given_s is None else float(given_s)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise FlameError(
            FlameErrorCode.INVALID_CONFIG,
            f"{_VARIABLE}, or reconnect_timeout, is {text if given_s is None else given_s!r}; want seconds, 0 or more",
        )
    return seconds


class Patience:
    """The pauses between attempts, growing, until the time is over."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._pause_s = _FIRST_PAUSE_S

    def next_pause(self) -> float | None:
        """Seconds until the next attempt; None: there is none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            return None
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, _LAST_PAUSE_S)
        return min(pause, left)
