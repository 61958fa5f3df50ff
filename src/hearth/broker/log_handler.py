# SPDX-License-Identifier: Apache-2.0
"""From Python's logging into the instance's log: what the daemon itself has to tell is read with the rest."""

from __future__ import annotations

import logging
import os
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hearth.text import on_one_line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["InstanceLogHandler"]

_WAITING_MAX = 1024  # as many as the log keeps
_NAME = "hearth"


class InstanceLogHandler(logging.Handler):
    """Gives each record as a line to append, in a turn of the loop of its own.

    Not at once: records are made in the middle of whatever goes wrong, and a line may make more of them, if
    who follows the log does not read. Any thread may log.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, append: Callable[[bytes], object]) -> None:
        super().__init__()
        self._loop = loop
        self._append = append
        self._waiting: deque[bytes] = deque(maxlen=_WAITING_MAX)
        self._is_due = False

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record; the oldest is lost if a thousand wait. Lost altogether once the loop has ended."""
        self._waiting.append(_line(record))
        if not self._is_due and not self._loop.is_closed():
            self._is_due = True
            self._loop.call_soon_threadsafe(self.deliver)

    def deliver(self) -> None:
        """Append what waits now."""
        self._is_due = False
        for _ in range(len(self._waiting)):
            self._append(self._waiting.popleft())


def _line(record: logging.LogRecord) -> bytes:
    at = datetime.fromtimestamp(record.created, timezone.utc)
    header = f"<{_severity(record.levelno) * 8}>1 {at:%Y-%m-%dT%H:%M:%S.%fZ} 0 {_NAME} {os.getpid()} - - "
    return (header + on_one_line(record.getMessage().replace("\n", " "))).encode()


def _severity(level: int) -> int:
    """Of the log's eight: critical 2, error 3, warning 4, info 6, debug 7."""
    if level >= logging.ERROR:
        return 2 if level >= logging.CRITICAL else 3
    return 4 if level >= logging.WARNING else 6 if level >= logging.INFO else 7
