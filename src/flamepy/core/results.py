# SPDX-License-Identifier: Apache-2.0
"""One session's tasks on their way out and their results on the way in: a stream each."""

from __future__ import annotations

import errno
import os
import secrets
import weakref
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING

from flamepy.core.errors import FORKED, closed_error, error_of, lost_error
from flamepy.core.futures import LeanFuture, orphan, resolve, tell_if_cancelled
from flamepy.core.submissions import Submissions
from flamepy.core.types import FlameError
from flux.constants import FLUX_MSGFLAG_STREAMING

if TYPE_CHECKING:
    from flamepy.core.link import Link
    from flamepy.protocol import TaskOptions
    from flux.packet import Packet

__all__ = ["ResultStream"]

_new_future = LeanFuture.__new__


class ResultStream:
    """Turns inputs into futures. Thread-safe; futures are resolved on the link's I/O thread.

    Opened at the first submission and then kept until the session closes. When its connection breaks it comes back
    with the numbers that had no answer, see Submissions.
    """

    def __init__(self, link: Link, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        self._tag = 0
        client = secrets.token_hex(8)
        self._tasks: Submissions[LeanFuture] = Submissions(session_id, client, is_resumable=link.reconnect_s > 0)
        """Changed with the link's lock held, except by the I/O thread when it takes out whose results are there."""
        self._is_gathered = False
        """Whether `send` is going to be called."""
        self._ended: FlameError | None = None
        _streams.add(self)

    def submit(
        self, input_data: bytes, *, is_urgent: bool = False, options: TaskOptions | None = None
    ) -> Future[bytes | None]:
        """Put one task on the way, an urgent one at once; options: where they differ from the session's.

        Raises FlameError if the session is known to be closed, or the link is lost.
        """
        future = _new_future(LeanFuture)  # what its __init__ does, without the call: that pays for owner and number
        future._owner = self
        link = self._link
        with link.lock:
            if self._ended is not None:
                raise FlameError(self._ended.code, self._ended.message)
            link.check()
            future._number = self._tasks.add(input_data, future, options)
            is_first, self._is_gathered = not self._is_gathered, True
            link.gather(self, len(input_data), is_first=is_first, is_urgent=is_urgent)
        return future

    def create(self, input_data: bytes, options: TaskOptions | None = None) -> bytes:
        """Make one task and wait until the instance holds it; returns its answer. The result is not asked for.

        Raises FlameError as `submit` does, and what the instance refuses it with.
        """
        with self._link.lock:
            payload = self._tasks.creation(input_data, options)
        return self._link.call("flame.task.submit", payload, bytes)

    def cancel(self, number: int) -> None:
        """Tell the instance that nobody waits for this task, with what else is on its way. Never waits."""
        with self._link.lock:
            if self._ended is None and not self._link.is_lost:
                self._tasks.cancel(number)
                self._gather()

    def _gather(self) -> None:
        if not self._is_gathered:
            self._is_gathered = True
            self._link.gather_more(self)

    def invoke(self, input_data: bytes, options: TaskOptions | None = None) -> bytes | None:
        """Run one task and wait for it: on a direct line, unless tasks that were submitted before are still out.

        Those must come first, and only on one connection is that certain.
        """
        if len(self._tasks):
            return self.submit(input_data, is_urgent=True, options=options).result()
        self._link.check()
        if self._ended is not None:
            raise FlameError(self._ended.code, self._ended.message)
        return self._link.direct.invoke(self._session_id, input_data, options)

    # -- out; the link's lock is held

    def send(self) -> None:
        """Called by the link when it is time to send what has gathered."""
        self._is_gathered = False
        if not self._tag:
            self.resume()
        for topic, payload in self._tasks.take_messages(self._tag):
            self._link.request(topic, payload, None)

    def resume(self) -> None:
        """Ask for results; called by the link when it begins a new conversation: then also for what was missed."""
        self._tag = self._link.request("flame.session.results", self._tasks.opening(), self, FLUX_MSGFLAG_STREAMING)

    # -- answers, on the I/O thread

    def on_response(self, response: Packet) -> None:
        """A batch of results, or the end of the stream."""
        if response.aux1:
            self.end(closed_error(self._session_id) if response.aux1 == errno.ENODATA else error_of(response))
            return
        tasks = self._tasks
        batch = tasks.decode(response.payload or b"")
        if batch.unknown is not None:
            with self._link.lock:
                tasks.go_on(batch.unknown)
                self._gather()
        outputs, errors = tasks.sort(batch)
        resolve(outputs)
        for future, error in errors:
            _fail(future, error)
        if tasks.is_heavy:
            with self._link.lock:
                tasks.sweep()

    def on_lost(self, error: OSError) -> None:
        """The connection is gone."""
        self.end(lost_error(self._link.uri, error))

    def close(self) -> None:
        """The session is closed: take no more. What is on the way is resolved by the end of the stream."""
        with self._link.lock:
            if self._ended is None:
                self._ended = closed_error(self._session_id)

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more tasks."""
        return self._ended is not None

    def end(self, error: FlameError) -> None:
        """No result will come any more: fail what waits, and what is submitted from now on."""
        with self._link.lock:
            self._ended = error
            futures = self._tasks.end()
        for future in futures:
            _fail(future, FlameError(error.code, error.message))

    def orphan(self, error: OSError) -> None:
        """In a forked child: the results are the parent's, and nobody will bring them here."""
        for future in self._tasks.end():
            orphan(future, lost_error(self._link.uri, error))


_streams: weakref.WeakSet[ResultStream] = weakref.WeakSet()


def _orphan_after_fork() -> None:
    error = OSError(errno.ECHILD, FORKED)
    for stream in list(_streams):
        stream.orphan(error)


os.register_at_fork(after_in_child=_orphan_after_fork)


def _fail(future: LeanFuture, error: FlameError) -> None:
    try:
        future.set_exception(error)
    except InvalidStateError:
        tell_if_cancelled(future)
