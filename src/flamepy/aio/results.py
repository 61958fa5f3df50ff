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
    from flux.packet import Packet

__all__ = ["ResultStream", "TaskFuture"]


class TaskFuture(asyncio.Future["bytes | None"]):
    """The output of one task. To cancel it gives the task up."""

    _stream: ResultStream
    _number: int

    def cancel(self, msg: Any = None) -> bool:
        """Stop the waiting; the task goes on, and its output is dropped."""
        if not super().cancel(msg):
            return False
        self._stream.give_up(self._number)
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
        """Whether the link is going to call `send`."""
        self._ended: FlameError | None = None

    def submit(self, input_data: bytes, *, is_urgent: bool = False) -> TaskFuture:
        """Put one task on the way; an urgent one at once, unless others are out.

        Raises FlameError if the session is known to be closed, or the link is lost.
        """
        link, tasks = self._link, self._tasks
        link.check()
        if self._ended is not None:
            raise FlameError(self._ended.code, self._ended.message)
        future = TaskFuture(loop=link.loop)
        future._stream = self
        future._number = tasks.add(input_data, future)
        is_first, self._is_gathered = not self._is_gathered, True
        link.gather(self, len(input_data), is_first=is_first, is_urgent=is_urgent and len(tasks) == 1)
        return future

    async def create(self, input_data: bytes) -> bytes:
        """Make one task and wait until the instance holds it; returns its answer. The result is not asked for."""
        return await self._link.call(Answer(self._link, "flame.task.submit", self._tasks.creation(input_data)))

    def send(self) -> None:
        """Called by the link when it is time to send what has gathered."""
        self._is_gathered = False
        if not self._tasks.has_gathered:
            return
        if not self.tag:
            self.resume()
        for batch in self._tasks.take_batches(self.tag):
            self._link.request("flame.task.submit", batch, None)

    def resume(self) -> None:
        """Ask for results; on a new connection also for what was missed on the old one."""
        self.tag = self._link.request("flame.session.results", self._tasks.opening(), self, FLUX_MSGFLAG_STREAMING)

    def give_up(self, number: int) -> None:
        """Nobody waits for this task any more."""
        self._tasks.forget(number)

    # Answers

    def on_response(self, response: Packet) -> None:
        """A batch of results, or the end of the stream."""
        if response.aux1:
            self._end(closed_error(self._session_id) if response.aux1 == errno.ENODATA else error_of(response))
            return
        outputs, errors = self._tasks.sort(response.payload or b"")
        for future, output in outputs:
            if not future.done():  # if it is, its owner has set a result of his own
                future.set_result(output)
        for future, error in errors:
            _fail(future, error)
        if self._tasks.has_gathered and not self._is_gathered:  # on a new connection, now that we know what is missing
            self._is_gathered = True
            self._link.gather(self, 0, is_first=True, is_urgent=False)

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
