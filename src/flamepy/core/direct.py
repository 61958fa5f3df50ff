# SPDX-License-Identifier: Apache-2.0
"""Direct lines: a blocking caller's own connection, on which it sends, waits and receives by itself.

Handing an answer from the I/O thread to a waiting caller costs as much as two trips between processes
(docs/decisions/005). A caller that waits for its one task anyway can read the answer itself. It does so
on a line of its own, so that being interrupted in the middle (Ctrl-C) ruins the line and nothing else.

A line that breaks is replaced: the caller asks on the new one for the answer to the same task, by its number,
and submits it again only if the instance has never got it.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from flamepy.core.errors import closed_error, error_of, lost_error, refusal_error, task_error
from flamepy.core.patience import Patience
from flamepy.core.types import TaskState
from flamepy.protocol import OpenResults, ResultBatch, SubmitBatch
from flux.connector import READ_BYTES, connect
from flux.constants import FLUX_MSGFLAG_STREAMING
from flux.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from flamepy.core.types import FlameError
    from flamepy.protocol import TaskOptions
    from flux.packet import Packet

__all__ = ["DirectLines"]

_CONNECT_S = 10.0
_KEPT = 8  # lines kept for later; more callers at once open their own and close them again

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ResultBatch).decode


class DirectLines:
    """The lines of one connection. Thread-safe: a line serves one caller at a time."""

    def __init__(self, uri: str, reconnect_s: float) -> None:
        self._uri = uri
        self._reconnect_s = reconnect_s
        self._idle: list[_Line] = []

    def invoke(self, session_id: str, input_data: bytes, options: TaskOptions | None = None) -> bytes | None:
        """Run one task. Raises FlameError as `Session.invoke` does."""
        task = _Invocation(session_id, input_data, options)
        try:
            return self._try(task).take()
        except OSError as failure:
            error = failure
        self.close()  # those that were idle have broken, too
        patience = Patience(self._reconnect_s)
        while (pause_s := patience.next_pause()) is not None:
            time.sleep(pause_s)
            try:
                return self._try(task).take()
            except OSError as failure:
                error = failure
        raise lost_error(self._uri, error)

    def _try(self, task: _Invocation) -> _Outcome:
        """Raises OSError if there is no connection, or it breaks."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = _Line(self._uri)
        try:
            outcome = line.invoke(task)
        except BaseException:
            line.close()  # broken; or interrupted, and what belongs to this task may still arrive
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(line)
        else:
            line.close()
        return outcome

    def close(self) -> None:
        """Hang up all that are idle."""
        while self._idle:
            self._idle.pop().close()


class _Invocation:
    """One task, and the number under which it was sent, once it was."""

    def __init__(self, session_id: str, input_data: bytes, options: TaskOptions | None) -> None:
        self.session_id = session_id
        self.input_data = input_data
        self.options = options
        self.client = ""
        self.number = 0


class _Outcome(Protocol):
    def take(self) -> bytes | None:
        """The output, or the task's failure as FlameError."""


class _Line:
    """One connection, used by one thread at a time."""

    def __init__(self, uri: str) -> None:
        self._socket = connect(uri, _CONNECT_S)
        self._session = Session()
        self._streams: dict[str, _Stream] = {}

    def invoke(self, task: _Invocation) -> _Outcome:
        """Raises OSError when the connection is lost; then the same invocation goes on, on another line."""
        if task.client:
            return self._resume(task)
        stream = self._streams.get(task.session_id)
        if stream is not None:
            self._submit(stream, task)
            if not stream.has_ended:
                return stream
            # Its session was closed, and this task not taken. The id may belong to a new one by now.
        stream = self._open(task.session_id, secrets.token_hex(8), [])
        self._submit(stream, task)
        if stream.has_ended:
            del self._streams[task.session_id]
        return stream

    def _open(self, session_id: str, client: str, unanswered: list[tuple[int, int]]) -> _Stream:
        stream = self._streams[session_id] = _Stream(session_id, client)
        request = msgspec.json.encode(OpenResults(session_id, client, unanswered)) + b"\0"
        stream.tag = self._session.request("flame.session.results", request, stream, flags=FLUX_MSGFLAG_STREAMING)
        return stream

    def _resume(self, task: _Invocation) -> _Stream:
        """Ask for the answer; submit the task if the instance does not know it."""
        stream = self._open(task.session_id, task.client, [(task.number, 1)])
        del self._streams[task.session_id]  # its numbering is another line's
        self._socket.sendall(self._session.bytes_to_send())
        self._receive_until(lambda: stream.has_answer or stream.is_unknown)
        if stream.is_unknown and not stream.has_answer:
            self._send(stream, task)
        return stream

    def _submit(self, stream: _Stream, task: _Invocation) -> None:
        """Send one task and wait for its answer, or the end of the stream."""
        stream.number += 1
        task.client, task.number = stream.client, stream.number
        self._send(stream, task)

    def _send(self, stream: _Stream, task: _Invocation) -> None:
        options = task.options or ()
        batch = SubmitBatch(task.session_id, stream.tag, task.number, [task.input_data], task.client, *options)
        self._session.request("flame.task.submit", _encode(batch), None)
        self._socket.sendall(self._session.bytes_to_send())
        self._receive_until(lambda: stream.has_answer)

    def _receive_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            self._session.receive(data)

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        # A program that ends with its shared connection open leaves idle lines to the interpreter's last sweep.
        if hasattr(self, "_socket"):
            self._socket.close()


class _Stream:
    """The results of one session on one line: never more than one is awaited."""

    def __init__(self, session_id: str, client: str) -> None:
        self.session_id = session_id
        self.client = client
        self.is_unknown = False
        """Whether the instance has said that it does not have the task that was asked for."""
        self.tag = 0
        self.number = 0
        self.error: FlameError | None = None
        self._result: tuple[int, int, bytes | None, str | None] | None = None
        self._refusal: FlameError | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the stream ended instead of an answer."""
        return self.error is not None and self._result is None and self._refusal is None

    @property
    def has_answer(self) -> bool:
        return self._result is not None or self._refusal is not None or self.error is not None

    def take(self) -> bytes | None:
        result, self._result = self._result, None
        refusal, self._refusal = self._refusal, None
        if result is None:
            error = refusal or self.error
            assert error is not None
            raise error
        _, state, output, message = result
        if state != TaskState.SUCCEED:
            raise task_error(state, message)
        return output

    def on_response(self, response: Packet) -> None:
        if response.aux1:
            self.error = closed_error(self.session_id) if response.aux1 == errno.ENODATA else error_of(response)
            return
        batch = _decode(response.payload or b"")
        self.is_unknown |= bool(batch.unknown)
        for result in batch.results:
            self._result = result
        for _, _, code, text in batch.refused:
            self._refusal = refusal_error(code, text)

    def on_lost(self, error: OSError) -> None:
        """The line's own reader meets the end first."""
