# SPDX-License-Identifier: Apache-2.0
"""One session's tasks between submission and result: their numbers, their batches, and who waits for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from flamepy.core.errors import refusal_error, task_error
from flamepy.core.types import TaskState
from flamepy.protocol import ResultBatch, SubmitBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flamepy.core.types import FlameError

__all__ = ["Submissions", "chunks_of"]

_W = TypeVar("_W")
_BATCH_BYTES = 1 << 20
_SUCCEED = int(TaskState.SUCCEED)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ResultBatch).decode


class Submissions(Generic[_W]):
    """Who waits may be anything. No I/O, and not thread-safe: the owner moves bytes and holds locks.

    Tasks are numbered from 1 on without gaps, so that a batch says only where it begins.
    """

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._next = 1
        self._inputs: list[bytes | None] = []
        self._waiters: dict[int, _W] = {}

    def __len__(self) -> int:
        """How many wait for a result."""
        return len(self._waiters)

    @property
    def has_gathered(self) -> bool:
        """Whether there is something to send."""
        return bool(self._inputs)

    def add(self, input_data: bytes, waiter: _W) -> int:
        """Gather a task; returns its number."""
        number = self._next
        self._next = number + 1
        self._inputs.append(input_data)
        self._waiters[number] = waiter
        return number

    def take_batches(self, stream: int) -> Iterator[bytes]:
        """What has gathered, as payloads of flame.task.submit; stream: the matchtag that the results are to come to."""
        inputs, self._inputs = self._inputs, []
        number = self._next - len(inputs)
        for chunk in chunks_of(inputs):
            yield _encode(SubmitBatch(self._session_id, stream, number, chunk))
            number += len(chunk)

    def sort(self, payload: bytes) -> tuple[list[tuple[_W, bytes | None]], list[tuple[_W, FlameError]]]:
        """Who gets which output, and who which error, of a ResultBatch. They wait no longer."""
        batch = _decode(payload)
        pop = self._waiters.pop
        outputs: list[tuple[_W, bytes | None]] = []
        errors: list[tuple[_W, FlameError]] = []
        for number, state, output, message in batch.results:
            waiter = pop(number, None)
            if waiter is None:
                continue
            if state == _SUCCEED:
                outputs.append((waiter, output))
            else:
                errors.append((waiter, task_error(state, message)))
        for first, count, code, text in batch.refused:
            refused = [waiter for number in range(first, first + count) if (waiter := pop(number, None)) is not None]
            errors += [(waiter, refusal_error(code, text)) for waiter in refused]
        return outputs, errors

    def forget(self, number: int) -> None:
        """Nobody waits for this one any more."""
        self._waiters.pop(number, None)

    def end(self) -> list[_W]:
        """No result comes any more: all who wait. They wait no longer, and what has gathered is dropped."""
        waiters, self._waiters = self._waiters, {}
        self._inputs.clear()
        return list(waiters.values())


def chunks_of(inputs: list[bytes | None]) -> Iterator[list[bytes | None]]:
    """Cut into pieces of about 1 MiB, which is what a message should carry."""
    size = begin = 0
    for end, data in enumerate(inputs):
        if size and size + len(data or b"") > _BATCH_BYTES:
            yield inputs[begin:end]
            size, begin = 0, end
        size += len(data or b"")
    if begin < len(inputs):
        yield inputs[begin:]
