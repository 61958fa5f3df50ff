# SPDX-License-Identifier: Apache-2.0
"""One session's tasks between submission and result: their numbers, what is sent, and who waits for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from flamepy.core.errors import refusal_error, task_error
from flamepy.core.sent import SentInputs
from flamepy.core.types import TaskState
from flamepy.protocol import CancelTasks, OpenResults, ResultBatch, SubmitBatch
from flux.constants import FLUX_MATCHTAG_NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flamepy.core.types import FlameError
    from flamepy.protocol import TaskOptions

__all__ = ["Submissions", "Waiter"]


class Waiter(Protocol):
    """Who waits for a task."""

    def cancelled(self) -> bool:
        """Whether nobody waits any more."""


_W = TypeVar("_W", bound=Waiter)
_Batch = tuple[int, "list[bytes | None]", "TaskOptions | None"]
"""The number of the first, inputs, and the options of all of them."""

_BATCH_BYTES = 1 << 20
_SUCCEED = int(TaskState.SUCCEED)

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_decode = msgspec.msgpack.Decoder(ResultBatch).decode


class Submissions(Generic[_W]):
    """Does no I/O: its owner sends what it gives, and brings what arrives.

    Tasks are numbered from 1 on without gaps, so that a batch says only where it begins. client: whose numbers
    these are, also on another connection. is_resumable: keep what was sent until it is answered, so that another
    connection can go on: each task is made once, and each has one answer.

    Not thread-safe, but that one thread may `sort` while another adds.
    """

    def __init__(self, session_id: str, client: str, *, is_resumable: bool) -> None:
        self._session_id = session_id
        self._client = client
        self._created = 0
        self._next = 1
        self._first_unsent = 1
        self._inputs: list[bytes | None] = []
        """The last of those that are not sent yet."""
        self._options: TaskOptions | None = None
        """Of these inputs."""
        self._sealed: list[_Batch] = []
        """What is to be sent before these."""
        self._cancelled: list[int] = []
        self._sent = SentInputs() if is_resumable else None
        self._is_resuming = False
        self._waiters: dict[int, _W] = {}

    def __len__(self) -> int:
        """How many have no result yet."""
        return len(self._waiters)

    def add(self, input_data: bytes, waiter: _W, options: TaskOptions | None = None) -> int:
        """Gather a task; returns its number. options: where they differ from the session's."""
        if options != self._options:
            self._seal()
            self._options = options
        number = self._next
        self._next = number + 1
        self._inputs.append(input_data)
        self._waiters[number] = waiter
        return number

    def cancel(self, number: int) -> None:
        """Gather the wish that a task be cancelled, as its waiter is."""
        if number in self._waiters:
            self._cancelled.append(number)

    def _seal(self) -> None:
        """What has gathered becomes a batch of its own: what comes next has other options, or it is time to send."""
        if self._inputs:
            self._sealed.append((self._next - len(self._inputs), self._inputs, self._options))
            self._inputs = []

    def creation(self, input_data: bytes, options: TaskOptions | None = None) -> bytes:
        """The payload of flame.task.submit for a task whose result is not asked for. It may be sent again."""
        self._created += 1
        client = f"{self._client}-created"
        return _encode(
            SubmitBatch(self._session_id, FLUX_MATCHTAG_NONE, self._created, [input_data], client, *(options or ()))
        )

    # -- out

    def opening(self) -> bytes:
        """The payload of flame.session.results, on any connection; asks for what was missed on the last one."""
        unanswered: list[int] = []
        if self._first_unsent > 1:  # else this is the first connection, where there is nothing to look for
            unanswered = sorted(number for number in self._waiters if number < self._first_unsent)
            self._cancelled = [number for number, waiter in self._waiters.items() if waiter.cancelled()]
            while self._sent is not None and self._sealed and self._sealed[0][0] < self._first_unsent:
                self._sent.keep(*self._sealed.pop(0))  # it was to be sent again
        self._is_resuming = bool(unanswered)
        return _encode_json(OpenResults(self._session_id, self._client, _runs(unanswered))) + b"\0"

    def take_messages(self, stream: int) -> Iterator[tuple[str, bytes]]:
        """What has gathered, as topics and payloads; stream: the matchtag of flame.session.results.

        On another connection that is nothing until `go_on`: what was submitted before goes before.
        """
        if self._is_resuming:
            return
        self._seal()
        sealed, self._sealed = self._sealed, []
        cancelled, self._cancelled = self._cancelled, []
        self._first_unsent = self._next
        for number, inputs, options in sealed:
            if self._sent is not None:
                self._sent.keep(number, inputs, options)
            first = number
            for chunk in _chunks(inputs):
                batch = SubmitBatch(self._session_id, stream, first, chunk, self._client, *(options or ()))
                yield "flame.task.submit", _encode(batch)
                first += len(chunk)
        if cancelled:  # behind the submissions, for some may be among these
            asked = CancelTasks(self._session_id, stream=stream, numbers=cancelled)
            yield "flame.task.cancel", _encode_json(asked) + b"\0"

    # -- in

    @staticmethod
    def decode(payload: bytes) -> ResultBatch:
        """An answer to flame.session.results."""
        return _decode(payload)

    def sort(self, batch: ResultBatch) -> tuple[list[tuple[_W, bytes | None]], list[tuple[_W, FlameError]]]:
        """Who gets which output, and who which error; they wait no longer."""
        pop = self._waiters.pop
        outputs: list[tuple[_W, bytes | None]] = []
        errors: list[tuple[_W, FlameError]] = []
        for number, state, output, message in batch.results:
            waiter = pop(number, None)
            if waiter is None:
                continue
            if state == _SUCCEED:
                outputs.append((waiter, output))
            elif not waiter.cancelled():  # else it is we who cancelled the task
                errors.append((waiter, task_error(state, message)))
        for first, count, code, text in batch.refused:
            refused = [waiter for number in range(first, first + count) if (waiter := pop(number, None)) is not None]
            errors += [(waiter, refusal_error(code, text)) for waiter in refused]
        return outputs, errors

    def go_on(self, unknown: list[tuple[int, int]]) -> None:
        """Told first on another connection: which of the unanswered have become no task, as (first, count)."""
        if self._sent is not None:
            again = [batch for first, count in unknown for batch in self._sent.take(first, count)]
            self._sealed = [*again, *self._sealed]
            self._is_resuming = False

    @property
    def is_heavy(self) -> bool:
        """Whether it is time for `sweep`."""
        return self._sent is not None and self._sent.is_heavy

    def sweep(self) -> None:
        """Let go of inputs that have been answered."""
        if self._sent is not None:
            self._sent.drop_answered(self._waiters)

    def end(self) -> list[_W]:
        """No result comes any more: all who wait. They wait no longer, and what has gathered is dropped."""
        waiters, self._waiters = self._waiters, {}
        self._inputs.clear()
        self._sealed.clear()
        self._cancelled.clear()
        self._sent = None
        return list(waiters.values())


def _chunks(inputs: list[bytes | None]) -> Iterator[list[bytes | None]]:
    """Cut into pieces of about 1 MiB, which is what a message should carry."""
    size = begin = 0
    for end, data in enumerate(inputs):
        if size and size + len(data or b"") > _BATCH_BYTES:
            yield inputs[begin:end]
            size, begin = 0, end
        size += len(data or b"")
    if begin < len(inputs):
        yield inputs[begin:] if begin else inputs


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
