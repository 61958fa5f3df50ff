# SPDX-License-Identifier: Apache-2.0
"""What instances print, while they run and for a while after: the last part of it, in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from hearth.providers.output import OutputTail

__all__ = ["ExecutorLog", "ExecutorLogs"]

_ENDED_MAX = 256
_ENDED_BYTES = 16 << 20


@dataclass(eq=False, slots=True)
class ExecutorLog:
    """The output of one executor. Times are in UTC seconds; ended is None while it runs.

    number: counts the executors of this instance in the order of their start, from 1.
    """

    number: int
    executor_id: str
    session_id: str
    started: float
    stdout: OutputTail
    stderr: OutputTail
    ended: float | None = None

    @property
    def size_bytes(self) -> int:
        """What is kept of both streams."""
        return self.stdout.size_bytes + self.stderr.size_bytes


class ExecutorLogs:
    """The logs of all executors that run, and of the last 256 that have ended, up to 16 MiB.

    sessions are the ids of those there are, now and later: logs of others are forgotten.
    """

    def __init__(self, now: Callable[[], float], sessions: Container[str]) -> None:
        self._now = now
        self._sessions = sessions
        self._running: dict[str, ExecutorLog] = {}
        self._ended: deque[ExecutorLog] = deque()
        self._count = 0

    def open(self, executor_id: str, session_id: str, stdout: OutputTail, stderr: OutputTail) -> ExecutorLog:
        """An executor has started."""
        self._count += 1
        log = ExecutorLog(self._count, executor_id, session_id, self._now(), stdout, stderr)
        self._running[executor_id] = log
        return log

    def close(self, log: ExecutorLog) -> None:
        """It has ended: take what it has still written, and make room if need be."""
        for stream in (log.stdout, log.stderr):
            stream.drain()
            stream.close()
        log.ended = self._now()
        del self._running[log.executor_id]
        kept = [each for each in (*self._ended, log) if each.session_id in self._sessions][-_ENDED_MAX:]
        self._ended = deque(kept)
        size = sum(each.size_bytes for each in kept)
        while size > _ENDED_BYTES:
            size -= self._ended.popleft().size_bytes

    def of(self, session_id: str) -> list[ExecutorLog]:
        """Those of one session, in the order of their start."""
        mine = [log for log in (*self._ended, *self._running.values()) if log.session_id == session_id]
        return sorted(mine, key=lambda log: log.number)
