# SPDX-License-Identifier: Apache-2.0
"""One task's states as they change."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.convert import task_of
from flamepy.core.errors import error_of, lost_error, watch_timeout
from flamepy.core.requests import encode_request
from flamepy.protocol import TaskInfo, TaskRef, Unwatch
from flux.constants import FLUX_MSGFLAG_STREAMING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from flamepy.aio.link import Link
    from flamepy.core.types import Task, TaskState
    from flux.packet import Packet

__all__ = ["watch_task"]


async def watch_task(link: Link, task: TaskRef, timeout_s: float | None) -> AsyncGenerator[Task, None]:
    """See `Session.watch_task`."""
    deadline = None if timeout_s is None else link.loop.time() + timeout_s
    watch = _Watch(link, task)
    link.begin(watch)
    told: TaskState | None = None
    try:
        while True:
            answer = await watch.next(None if deadline is None else deadline - link.loop.time())
            if answer is None:
                raise watch_timeout(task, timeout_s)
            if isinstance(answer, OSError):
                raise lost_error(link.addr, answer)
            if answer.aux1 == errno.ENODATA:
                return
            if answer.aux1:
                raise error_of(answer)
            state = task_of(msgspec.json.decode((answer.payload or b"").rstrip(b"\0"), type=TaskInfo))
            if watch.is_again and state.state == told:
                continue  # told once more by the new connection
            told = state.state
            yield state
    finally:
        if not watch.has_ended:
            link.end_stream(watch, "flame.task.unwatch", Unwatch(watch.tag))


class _Watch:
    """One flame.task.watch request. A task has few states: no bound on those unread is needed."""

    def __init__(self, link: Link, task: TaskRef) -> None:
        self._link = link
        self._request = encode_request("flame.task.watch", task)
        self._answers: asyncio.Queue[Packet | OSError] = asyncio.Queue()
        self.tag = 0
        self.is_again = False
        """Whether the connection is not the first one."""
        self.has_ended = False
        """Whether the last answer has come, and the tag may be another's."""

    def resume(self) -> None:
        self.tag = self._link.request("flame.task.watch", self._request, self, FLUX_MSGFLAG_STREAMING)

    def on_response(self, response: Packet) -> None:
        self.has_ended = response.aux1 != 0
        self._answers.put_nowait(response)

    def on_lost(self, error: OSError) -> None:
        self.is_again = True
        self._link.suspend(self, error)

    def fail(self, error: OSError) -> None:
        self.has_ended = True
        self._answers.put_nowait(error)

    async def next(self, timeout_s: float | None) -> Packet | OSError | None:
        """The next answer, or why none comes any more; None if there is none within the time."""
        if not self._answers.empty():
            return self._answers.get_nowait()
        try:
            return await asyncio.wait_for(self._answers.get(), timeout_s)
        except asyncio.TimeoutError:
            return None
