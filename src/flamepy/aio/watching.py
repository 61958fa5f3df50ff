# SPDX-License-Identifier: Apache-2.0
"""One task's states as they change."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.convert import task_of
from flamepy.core.errors import error_of, lost_error, watch_timeout
from flamepy.protocol import TaskInfo, TaskRef

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from flamepy.aio.link import Link
    from flamepy.core.types import Task
    from flux.packet import Packet

__all__ = ["watch_task"]


async def watch_task(link: Link, task: TaskRef, timeout_s: float | None) -> AsyncGenerator[Task, None]:
    """See `Session.watch_task`."""
    deadline = None if timeout_s is None else link.loop.time() + timeout_s
    answers = _Answers()
    tag = link.open_stream("flame.task.watch", task, answers)
    try:
        while True:
            answer = await answers.next(None if deadline is None else deadline - link.loop.time())
            if answer is None:
                raise watch_timeout(task, timeout_s)
            if isinstance(answer, OSError):
                raise lost_error(link.addr, answer)
            if answer.aux1 == errno.ENODATA:
                return
            if answer.aux1:
                raise error_of(answer)
            yield task_of(msgspec.json.decode((answer.payload or b"").rstrip(b"\0"), type=TaskInfo))
    finally:
        if not answers.has_ended:
            link.abandon(tag)


class _Answers:
    """A task has few states: no bound is needed."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Packet | OSError] = asyncio.Queue()
        self.has_ended = False
        """Whether the last answer has come, and the tag may be another's."""

    def on_response(self, response: Packet) -> None:
        self.has_ended = response.aux1 != 0
        self._queue.put_nowait(response)

    def on_lost(self, error: OSError) -> None:
        self.has_ended = True
        self._queue.put_nowait(error)

    async def next(self, timeout_s: float | None) -> Packet | OSError | None:
        """The next one; None if there is none within the time."""
        if not self._queue.empty():
            return self._queue.get_nowait()
        try:
            return await asyncio.wait_for(self._queue.get(), timeout_s)
        except asyncio.TimeoutError:
            return None
