# SPDX-License-Identifier: Apache-2.0
"""One session's tasks on their way out and their results on the way in: a stream each."""

from __future__ import annotations

import errno
import os
import secrets
import weakref
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.errors import FORKED, closed_error, error_of, lost_error, refusal_error, task_error
from flamepy.core.futures import LeanFuture, orphan, resolve, tell_if_cancelled
from flamepy.core.sent import SentInputs
from flamepy.core.submissions import chunks_of
from flamepy.core.types import FlameError, TaskState
from flamepy.protocol import CancelTasks, OpenResults, ResultBatch, SubmitBatch
from flux.constants import FLUX_MATCHTAG_NONE
from flux.constants import FLUX_MSGFLAG_STREAMING as _STREAMING

if TYPE_CHECKING:
    from flamepy.core.link import Link
    from flamepy.protocol import TaskOptions
    from flux.packet import Packet

__all__ = ["ResultStream"]

_SUCCEED = int(TaskState.SUCCEED)

_new_future = LeanFuture.__new__
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ResultBatch).decode


class ResultStream:
    """Turns inputs into futures. Thread-safe; futures are resolved on the link's I/O thread.

    Opened at the first submission and then kept until the session closes. When its connection breaks it comes back
    with the numbers that had no answer, and submits again what the instance says has become no task: each task is
    made once, and each has one answer.
    """

    def __init__(self, link: Link, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        self._tag = 0
        self._client = secrets.token_hex(8)
        """Whose numbers these are, also on another connection."""
        self._created = 0
        self._next = 1
        self._first_unsent = 1
        self._inputs: list[bytes | None] = []
        """The last of those that are not sent yet."""
        self._options: TaskOptions | None = None
        """Of these inputs."""
        self._sealed: list[tuple[int, list[bytes | None], TaskOptions | None]] = []
        """Inputs before these, with other options: (the number of the first, inputs, options)."""
        self._cancelled: list[int] = []
        """The numbers of tasks whose futures were cancelled, to be sent."""
        self._sent = SentInputs() if link.reconnect_s else None
        self._is_resuming = False
        self._futures: dict[int, LeanFuture] = {}
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
            if options != self._options:
                self._seal()
                self._options = options
            self._inputs.append(input_data)
            future._number = number = self._next
            self._futures[number] = future
            self._next = number + 1
            is_first = len(self._inputs) == 1 and not self._is_resuming
            link.gather(self, len(input_data), is_first=is_first, is_urgent=is_urgent)
        return future

    def create(self, input_data: bytes, options: TaskOptions | None = None) -> bytes:
        """Make one task and wait until the instance holds it; returns its answer. The result is not asked for.

        Raises FlameError as `submit` does, and what the instance refuses it with.
        """
        with self._link.lock:
            self._created += 1
            number = self._created
        client = f"{self._client}-created"
        batch = SubmitBatch(self._session_id, FLUX_MATCHTAG_NONE, number, [input_data], client, *(options or ()))
        return self._link.call("flame.task.submit", _encode(batch), bytes)

    def cancel(self, number: int) -> None:
        """Tell the instance that nobody waits for this task, with what else is on its way. Never waits."""
        link = self._link
        with link.lock:
            if self._ended is None and not link.is_lost:
                self._cancelled.append(number)
                if len(self._cancelled) == 1 and not self._is_resuming:
                    link.gather_more(self)

    def invoke(self, input_data: bytes, options: TaskOptions | None = None) -> bytes | None:
        """Run one task and wait for it: on a direct line, unless tasks that were submitted before are still out.

        Those must come first, and only on one connection is that certain.
        """
        if self._futures:
            return self.submit(input_data, is_urgent=True, options=options).result()
        self._link.check()
        if self._ended is not None:
            raise FlameError(self._ended.code, self._ended.message)
        return self._link.direct.invoke(self._session_id, input_data, options)

    # -- out; the link's lock is held

    def send(self) -> None:
        """Called by the link when it is time to send what has gathered."""
        if self._is_resuming:
            return  # what was submitted before goes before
        self._seal()
        sealed, self._sealed = self._sealed, []
        if not self._tag:
            self._open([])
        for first, inputs, options in sealed:
            self._send(first, inputs, options)
        self._first_unsent = self._next
        if self._cancelled:
            self._send_cancelled()

    def _seal(self) -> None:
        """What has gathered becomes a batch of its own: what comes next has other options, or it is time to send."""
        if self._inputs:
            self._sealed.append((self._next - len(self._inputs), self._inputs, self._options))
            self._inputs = []

    def _open(self, unanswered: list[tuple[int, int]]) -> None:
        request = msgspec.json.encode(OpenResults(self._session_id, self._client, unanswered)) + b"\0"
        self._tag = self._link.request("flame.session.results", request, self, _STREAMING)

    def _send(self, number: int, inputs: list[bytes | None], options: TaskOptions | None) -> None:
        if self._sent is not None:
            self._sent.keep(number, inputs, options)
        for chunk in chunks_of(inputs):
            batch = SubmitBatch(self._session_id, self._tag, number, chunk, self._client, *(options or ()))
            self._link.request("flame.task.submit", _encode(batch), None)
            number += len(chunk)

    def _send_cancelled(self) -> None:
        """Behind the submissions, for some of these may be among them."""
        numbers, self._cancelled = self._cancelled, []
        asked = CancelTasks(self._session_id, stream=self._tag, numbers=numbers)
        self._link.request("flame.task.cancel", msgspec.json.encode(asked) + b"\0", None)

    # -- a new connection

    def resume(self) -> None:
        """Ask for what was missed; called by the link, under its lock, when it begins a new conversation."""
        unanswered = [number for number in self._futures if number < self._first_unsent]
        self._cancelled = [number for number, future in self._futures.items() if future.cancelled()]
        self._is_resuming = bool(unanswered)
        self._open(_runs(sorted(unanswered)))

    def _submit_again(self, unknown: list[tuple[int, int]]) -> None:
        """The instance has told which numbers have become no task; then all goes on."""
        with self._link.lock:
            if self._sent is None:
                return  # the end came first
            for first, count in unknown:
                for number, inputs, options in self._sent.take(first, count):
                    self._send(number, inputs, options)
            self._is_resuming = False
            self._link.gather_more(self)

    # -- answers, on the I/O thread

    def on_response(self, response: Packet) -> None:
        """A batch of results, or the end of the stream."""
        if response.aux1:
            self.end(closed_error(self._session_id) if response.aux1 == errno.ENODATA else error_of(response))
            return
        batch = _decode(response.payload or b"")
        if batch.unknown is not None:
            self._submit_again(batch.unknown)
        pop = self._futures.pop
        succeeded = []
        for number, state, output, message in batch.results:
            future = pop(number, None)
            if future is None:
                continue
            if state == _SUCCEED:
                succeeded.append((future, output))
            elif not future.cancelled():  # else it is we who cancelled the task
                _fail(future, task_error(state, message))
        resolve(succeeded)
        for first, count, code, text in batch.refused:
            for number in range(first, first + count):
                _fail(pop(number, None), refusal_error(code, text))
        if self._sent is not None and self._sent.is_heavy:
            with self._link.lock:
                self._sent.drop_answered(self._futures)

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
            futures, self._futures = self._futures, {}
            self._inputs.clear()
            self._sealed.clear()
            self._cancelled.clear()
            self._sent = None
        for future in futures.values():
            _fail(future, FlameError(error.code, error.message))

    def orphan(self, error: OSError) -> None:
        """In a forked child: the results are the parent's, and nobody will bring them here."""
        futures, self._futures = self._futures, {}
        for future in futures.values():
            orphan(future, lost_error(self._link.uri, error))


_streams: weakref.WeakSet[ResultStream] = weakref.WeakSet()


def _orphan_after_fork() -> None:
    error = OSError(errno.ECHILD, FORKED)
    for stream in list(_streams):
        stream.orphan(error)


os.register_at_fork(after_in_child=_orphan_after_fork)


def _fail(future: LeanFuture | None, error: FlameError) -> None:
    if future is None:
        return
    try:
        future.set_exception(error)
    except InvalidStateError:
        tell_if_cancelled(future)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
