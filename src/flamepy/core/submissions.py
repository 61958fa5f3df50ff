# SPDX-License-Identifier: Apache-2.0
"""One session's tasks between submission and result: their numbers, their batches, and who waits for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from flamepy.core.errors import refusal_error, task_error
from flamepy.core.sent import SentInputs
from flamepy.core.types import TaskState
from flamepy.protocol import OpenResults, ResultBatch, SubmitBatch
from flux.constants import FLUX_MATCHTAG_NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flamepy.core.types import FlameError

__all__ = ["Submissions", "chunks_of"]

_W = TypeVar("_W")
_BATCH_BYTES = 1 << 20
_SUCCEED = int(TaskState.SUCCEED)

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_decode = msgspec.msgpack.Decoder(ResultBatch).decode


class Submissions(Generic[_W]):
    """Who waits may be anything. No I/O, and not thread-safe: the owner moves bytes and holds locks.

    Tasks are numbered from 1 on without gaps, so that a batch says only where it begins. client: whose numbers
    these are, also on another connection. is_resumable: keep what was sent until it is answered, so that a new
    connection can go on: each task is made once, and each has one answer.
    """

    def __init__(self, session_id: str, client: str, *, is_resumable: bool) -> None:
        self._session_id = session_id
        self._client = client
        self._created = 0
        self._next = 1
        self._inputs: list[bytes | None] = []
        """Those that are not sent yet."""
        self._sent = SentInputs() if is_resumable else None
        self._again: list[tuple[int, list[bytes | None]]] = []
        """First number and inputs of what is to be sent again."""
        self._is_resuming = False
        self._waiters: dict[int, _W] = {}

    def __len__(self) -> int:
        """How many wait for a result."""
        return len(self._waiters)

    @property
    def has_gathered(self) -> bool:
        """Whether there is something to send."""
        return bool(self._inputs or self._again) and not self._is_resuming

    def add(self, input_data: bytes, waiter: _W) -> int:
        """Gather a task; returns its number."""
        number = self._next
        self._next = number + 1
        self._inputs.append(input_data)
        self._waiters[number] = waiter
        return number

    def creation(self, input_data: bytes) -> bytes:
        """The payload of flame.task.submit for a task whose result is not asked for. It may be sent again."""
        self._created += 1
        client = f"{self._client}-created"
        return _encode(SubmitBatch(self._session_id, FLUX_MATCHTAG_NONE, self._created, [input_data], client))

    def opening(self) -> bytes:
        """The payload of flame.session.results. On a new connection nothing is sent until its first answer is there."""
        unsent = self._next - len(self._inputs)
        unanswered = _runs(sorted(number for number in self._waiters if number < unsent))
        self._is_resuming = bool(unanswered)
        self._keep_again()
        return _encode_json(OpenResults(self._session_id, self._client, unanswered)) + b"\0"

    def take_batches(self, stream: int) -> Iterator[bytes]:
        """What has gathered, as payloads of flame.task.submit; stream: the matchtag that the results are to come to."""
        if self._is_resuming:
            return  # what was submitted before goes before
        inputs, self._inputs = self._inputs, []
        batches = [*self._again, (self._next - len(inputs), inputs)] if inputs else self._again.copy()
        self._keep_again()
        if inputs and self._sent is not None:
            self._sent.keep(*batches[-1], None)
        for number, gathered in batches:
            first = number
            for chunk in chunks_of(gathered):
                yield _encode(SubmitBatch(self._session_id, stream, first, chunk, self._client))
                first += len(chunk)

    def _keep_again(self) -> None:
        if self._sent is not None:
            for first, inputs in self._again:
                self._sent.keep(first, inputs, None)
        self._again.clear()

    def sort(self, payload: bytes) -> tuple[list[tuple[_W, bytes | None]], list[tuple[_W, FlameError]]]:
        """Who gets which output, and who which error, of a ResultBatch; they wait no longer. It may bring more to send.

        What it brings first on a new connection is which tasks were never made: these have gathered again.
        """
        batch = _decode(payload)
        if batch.unknown is not None and self._sent is not None:
            self._is_resuming = False
            self._again = [piece[:2] for first, count in batch.unknown for piece in self._sent.take(first, count)]
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
        if self._sent is not None and self._sent.is_heavy:
            self._sent.drop_answered(self._waiters)
        return outputs, errors

    def forget(self, number: int) -> None:
        """Nobody waits for this one any more."""
        self._waiters.pop(number, None)

    def end(self) -> list[_W]:
        """No result comes any more: all who wait. They wait no longer, and what has gathered is dropped."""
        waiters, self._waiters = self._waiters, {}
        self._inputs.clear()
        self._again.clear()
        self._sent = None
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
        yield inputs[begin:] if begin else inputs


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
