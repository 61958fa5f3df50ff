# SPDX-License-Identifier: Apache-2.0
"""One session's tasks on their way out and their results on the way in: `flamepy.core.results` for asyncio."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import msgspec

from flamepy.core.errors import closed_error, error_of, lost_error
from flamepy.core.submissions import Submissions
from flamepy.core.types import FlameError
from flamepy.protocol import SessionRef
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
    """Turns inputs into futures. Opened at the first submission and then kept until the session closes."""

    def __init__(self, link: Link, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        self._tasks: Submissions[TaskFuture] = Submissions(session_id)
        self._tag = 0
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
        is_first = not tasks.has_gathered
        future._stream = self
        future._number = tasks.add(input_data, future)
        link.gather(self, len(input_data), is_first=is_first, is_urgent=is_urgent and len(tasks) == 1)
        return future

    def send(self) -> None:
        """Called by the link when it is time to send what has gathered."""
        link = self._link
        if not self._tag:
            request = msgspec.json.encode(SessionRef(self._session_id)) + b"\0"
            self._tag = link.request("flame.session.results", request, self, FLUX_MSGFLAG_STREAMING)
        for batch in self._tasks.take_batches(self._tag):
            link.request("flame.task.submit", batch, None)

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

    def on_lost(self, error: OSError) -> None:
        """The connection is gone."""
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
