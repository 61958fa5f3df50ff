# SPDX-License-Identifier: Apache-2.0
"""One session's tasks on their way out and their results on the way in: `flamepy.core.results` for asyncio."""

from __future__ import annotations

import asyncio
import errno
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from flamepy.aio.answer import Answer
from flamepy.core.errors import closed_error, error_of, lost_error
from flamepy.core.submissions import Submissions
from flamepy.core.types import FlameError
from flux.constants import FLUX_MSGFLAG_STREAMING

if TYPE_CHECKING:
    from flamepy.aio.link import Link
    from flamepy.protocol import TaskOptions
    from flux.packet import Packet

__all__ = ["ResultStream", "TaskFuture"]


class TaskFuture(asyncio.Future["bytes | None"]):
    """The output of one task. To cancel it cancels the task."""

    _stream: ResultStream
    _number: int

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the task: here at once, and then where it runs."""
        if not super().cancel(msg):
            return False
        self._stream.cancel(self._number)
        return True


class ResultStream:
    """Turns inputs into futures. Opened at the first submission and then kept until the session closes.

    When its connection breaks it comes back with the numbers that had no answer, see Submissions.
    """

    def __init__(self, link: Link, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        is_resumable = link.reconnect_s > 0
        self._tasks: Submissions[TaskFuture] = Submissions(session_id, token_hex(8), is_resumable=is_resumable)
        self.tag = 0
        self._is_gathered = False
        """Whether `send` is going to be called."""
        self._ended: FlameError | None = None

    def submit(self, input_data: bytes, *, is_urgent: bool = False, options: TaskOptions | None = None) -> TaskFuture:
        """Put one task on the way; an urgent one at once, unless others are out.

        options: where they differ from the session's. Raises FlameError if the session is known to be closed,
        or the link is lost.
        """
        link, tasks = self._link, self._tasks
        link.check()
        if self._ended is not None:
            raise FlameError(self._ended.code, self._ended.message)
        future = TaskFuture(loop=link.loop)
        future._stream = self
        future._number = tasks.add(input_data, future, options)
        self._gather(len(input_data), is_urgent=is_urgent and len(tasks) == 1)
        return future

    def _gather(self, size: int, *, is_urgent: bool = False) -> None:
        is_first, self._is_gathered = not self._is_gathered, True
        self._link.gather(self, size, is_first=is_first, is_urgent=is_urgent)

    async def create(self, input_data: bytes, options: TaskOptions | None = None) -> bytes:
        """Make one task and wait until the instance holds it; returns its answer. The result is not asked for."""
        payload = self._tasks.creation(input_data, options)
        return await self._link.call(Answer(self._link, "flame.task.submit", payload))

    def cancel(self, number: int) -> None:
        """Tell the instance that nobody waits for this task, with what else is on its way."""
        if self._ended is None and not self._link.is_lost:
            self._tasks.cancel(number)
            self._gather(0)

    def send(self) -> None:
        """Called by the link when it is time to send what has gathered."""
        self._is_gathered = False
        if self._ended is not None and not len(self._tasks):
            return
        if not self.tag:
            self.resume()
        for topic, payload in self._tasks.take_messages(self.tag):
            self._link.request(topic, payload, None)

    def resume(self) -> None:
        """Ask for results; on a new connection also for what was missed on the last one."""
        self.tag = self._link.request("flame.session.results", self._tasks.opening(), self, FLUX_MSGFLAG_STREAMING)

    # Answers

    def on_response(self, response: Packet) -> None:
        """A batch of results, or the end of the stream."""
        if response.aux1:
            self._end(closed_error(self._session_id) if response.aux1 == errno.ENODATA else error_of(response))
            return
        tasks = self._tasks
        batch = tasks.decode(response.payload or b"")
        if batch.unknown is not None:
            tasks.go_on(batch.unknown)
            self._gather(0)
        outputs, errors = tasks.sort(batch)
        for future, output in outputs:
            if not future.done():  # cancelled, or its owner has set a result of his own
                future.set_result(output)
        for future, error in errors:
            _fail(future, error)
        if tasks.is_heavy:
            tasks.sweep()

    def on_lost(self, error: OSError) -> None:
        """Wait for another connection."""
        self._link.suspend(self, error)

    def fail(self, error: OSError) -> None:
        """There will be no other connection."""
        self._end(lost_error(self._link.addr, error))

    def close(self) -> None:
        """The session is closed: take no more. What is on the way is resolved by the end of the stream."""
        if self._ended is None:
            self._ended = closed_error(self._session_id)

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more tasks."""
        return self._ended is not None

    def _end(self, error: FlameError) -> None:
        """No result will come any more: fail what waits, and what is submitted from now on."""
        self._ended = error
        for future in self._tasks.end():
            _fail(future, FlameError(error.code, error.message))


def _fail(future: TaskFuture, error: FlameError) -> None:
    if not future.done():
        future.set_exception(error)
