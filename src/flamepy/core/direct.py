# SPDX-License-Identifier: Apache-2.0
"""Direct lines: a blocking caller's own connection, on which it sends, waits and receives by itself.

Handing an answer from the I/O thread to a waiting caller costs as much as two trips between processes
(docs/decisions/005). A caller that waits for its one task anyway can read the answer itself. It does so
on a line of its own, so that being interrupted in the middle (Ctrl-C) ruins the line and nothing else.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

import msgspec

from flamepy.core.errors import closed_error, error_of, lost_error, refusal_error, task_error
from flamepy.core.types import TaskState
from flamepy.protocol import ResultBatch, SessionRef, SubmitBatch
from flux.connector import READ_BYTES, connect
from flux.constants import FLUX_MSGFLAG_STREAMING
from flux.session import Session

if TYPE_CHECKING:
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

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._idle: list[_Line] = []

    def invoke(self, session_id: str, input_data: bytes, options: TaskOptions | None = None) -> bytes | None:
        """Run one task. Raises FlameError as `Session.invoke` does."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = self._open()
        try:
            outcome = line.invoke(session_id, input_data, options)
        except OSError as error:
            line.close()
            raise lost_error(self._uri, error) from None
        except BaseException:
            line.close()  # interrupted: what belongs to this task may still arrive
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(line)
        else:
            line.close()
        return outcome.take()

    def _open(self) -> _Line:
        try:
            return _Line(self._uri)
        except OSError as error:
            raise lost_error(self._uri, error) from None

    def close(self) -> None:
        """Hang up all that are idle."""
        while self._idle:
            self._idle.pop().close()


class _Outcome(Protocol):
    def take(self) -> bytes | None:
        """The output, or the task's failure as FlameError."""


class _Line:
    """One connection, used by one thread at a time."""

    def __init__(self, uri: str) -> None:
        self._socket = connect(uri, _CONNECT_S)
        self._session = Session()
        self._streams: dict[str, _Stream] = {}

    def invoke(self, session_id: str, input_data: bytes, options: TaskOptions | None) -> _Outcome:
        """Raises OSError when the connection is lost."""
        stream = self._streams.get(session_id)
        if stream is not None:
            self._submit(stream, input_data, options)
            if not stream.has_ended:
                return stream
            # Its session was closed, and this task not taken. The id may belong to a new one by now.
        stream = self._streams[session_id] = _Stream(session_id)
        request = msgspec.json.encode(SessionRef(session_id)) + b"\0"
        stream.tag = self._session.request("flame.session.results", request, stream, flags=FLUX_MSGFLAG_STREAMING)
        self._submit(stream, input_data, options)
        if stream.has_ended:
            del self._streams[session_id]
        return stream

    def _submit(self, stream: _Stream, input_data: bytes, options: TaskOptions | None) -> None:
        """Send one task and wait for its answer, or the end of the stream."""
        stream.number += 1
        batch = SubmitBatch(stream.session_id, stream.tag, stream.number, [input_data], *(options or ()))
        self._session.request("flame.task.submit", _encode(batch), None)
        self._socket.sendall(self._session.bytes_to_send())
        while not stream.has_answer:
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

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
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
        for result in batch.results:
            self._result = result
        for _, _, code, text in batch.refused:
            self._refusal = refusal_error(code, text)

    def on_lost(self, error: OSError) -> None:
        """The line's own reader meets the end first."""
