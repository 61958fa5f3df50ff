# SPDX-License-Identifier: Apache-2.0
"""The codes of events. Those below 16 are a task's ordinary life, 1001 and 1002 are Flame's; the others are ours."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EventCode"]


class EventCode(IntEnum):
    """What befell a task (below 1000) or a session."""

    CREATED = 0
    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    RETURNED = 16
    """It waits again: its executor died."""
    CANCELLED = 17
    FORGOTTEN = 18
    """Its input and output were dropped to keep the instance within its memory bound."""
    BIND_FAILED = 1001
    GAVE_UP = 1002
    DOES_NOT_FIT = 1003
    NO_SHIM = 1004
    """No executor of this instance runs the application's kind, so its tasks wait."""
