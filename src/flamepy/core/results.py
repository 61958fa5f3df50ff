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
from flamepy.core.types import FlameError, TaskState
from flamepy.protocol import OpenResults, ResultBatch, SubmitBatch
from flux.constants import FLUX_MATCHTAG_NONE
from flux.constants import FLUX_MSGFLAG_STREAMING as _STREAMING

if TYPE_CHECKING:
    from flamepy.core.link import Link
    from flux.packet import Packet

__all__ = ["ResultStream"]

_BATCH_BYTES = 1 << 20
_SUCCEED = int(TaskState.SUCCEED)

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
        self._inputs: list[bytes | None] = []
        """Those that are not sent yet."""
        self._sent = SentInputs() if link.reconnect_s else None
        self._is_resuming = False
        self._futures: dict[int, LeanFuture] = {}
        self._ended: FlameError | None = None
        _streams.add(self)

    def submit(self, input_data: bytes, *, is_urgent: bool = False) -> Future[bytes | None]:
        """Put one task on the way, an urgent one at once.

        Raises FlameError if the session is known to be closed, or the link is lost.
        """
        future = LeanFuture()
        link = self._link
        with link.lock:
            if self._ended is not None:
                raise FlameError(self._ended.code, self._ended.message)
            link.check()
            self._inputs.append(input_data)
            self._futures[self._next] = future
            self._next += 1
            is_first = len(self._inputs) == 1 and not self._is_resuming
            link.gather(self, len(input_data), is_first=is_first, is_urgent=is_urgent)
        return future

    def create(self, input_data: bytes) -> bytes:
        """Make one task and wait until the instance holds it; returns its answer. The result is not asked for.

        Raises FlameError as `submit` does, and what the instance refuses it with.
        """
        with self._link.lock:
            self._created += 1
            number = self._created
        batch = SubmitBatch(self._session_id, FLUX_MATCHTAG_NONE, number, [input_data], f"{self._client}-created")
        return self._link.call("flame.task.submit", _encode(batch), bytes)

    def invoke(self, input_data: bytes) -> bytes | None:
        """Run one task and wait for it: on a direct line, unless tasks that were submitted before are still out.

        Those must come first, and only on one connection is that certain.
        """
        if self._futures:
            return self.submit(input_data, is_urgent=True).result()
        self._link.check()
        if self._ended is not None:
            raise FlameError(self._ended.code, self._ended.message)
        return self._link.direct.invoke(self._session_id, input_data)

    def send(self) -> None:
        """Called by the link, under its lock, when it is time to send what has gathered."""
        if self._is_resuming:
            return  # what was submitted before goes before
        inputs = self._inputs
        if not inputs:
            return
        if not self._tag:
            self._open([])
        number = self._first_unsent
        self._inputs = []
        self._send(number, inputs)

    def _open(self, unanswered: list[tuple[int, int]]) -> None:
        request = msgspec.json.encode(OpenResults(self._session_id, self._client, unanswered)) + b"\0"
        self._tag = self._link.request("flame.session.results", request, self, _STREAMING)

    def _send(self, number: int, inputs: list[bytes | None]) -> None:
        if self._sent is not None:
            self._sent.keep(number, inputs)
        for chunk in _chunks(inputs):
            batch = SubmitBatch(self._session_id, self._tag, number, chunk, self._client)
            self._link.request("flame.task.submit", _encode(batch), None)
            number += len(chunk)

    # -- a new connection

    def resume(self) -> None:
        """Ask for what was missed; called by the link, under its lock, when it begins a new conversation."""
        unsent = self._first_unsent
        unanswered = _runs(sorted(number for number in self._futures if number < unsent))
        self._is_resuming = bool(unanswered)
        self._open(unanswered)

    def _submit_again(self, unknown: list[tuple[int, int]]) -> None:
        """The instance has told which numbers have become no task; then all goes on."""
        with self._link.lock:
            if self._sent is None:
                return  # the end came first
            for first, count in unknown:
                self._send(first, self._sent.take(first, count))
            self._is_resuming = False
            if self._inputs:
                self._link.gather(self, 0, is_first=True, is_urgent=False)

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
            else:
                _fail(future, task_error(state, message))
        resolve(succeeded)
        for first, count, code, text in batch.refused:
            for number in range(first, first + count):
                _fail(pop(number, None), refusal_error(code, text))
        if self._sent is not None and self._sent.is_heavy:
            self._sent.drop_answered(self._futures)

    def on_lost(self, error: OSError) -> None:
        """The connection is gone."""
        self.end(lost_error(self._link.uri, error))

    @property
    def _first_unsent(self) -> int:
        return self._next - len(self._inputs)

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


def _chunks(inputs: list[bytes | None]) -> list[list[bytes | None]]:
    """Cut into messages of about _BATCH_BYTES."""
    if sum(len(data or b"") for data in inputs) <= _BATCH_BYTES:
        return [inputs]
    chunks: list[list[bytes | None]] = [[]]
    size = 0
    for data in inputs:
        if chunks[-1] and size + len(data or b"") > _BATCH_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(data)
        size += len(data or b"")
    return chunks


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
