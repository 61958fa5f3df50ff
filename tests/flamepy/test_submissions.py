"""Tasks between submission and result: numbers, batches, and who waits for which. No connection is needed."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flamepy import FlameErrorCode, TaskState
from flamepy.core.submissions import Submissions
from flamepy.protocol import ResultBatch, SubmitBatch

SUCCEED, FAILED, CANCELLED = int(TaskState.SUCCEED), int(TaskState.FAILED), int(TaskState.CANCELLED)


def gathered(count: int) -> Submissions[str]:
    tasks: Submissions[str] = Submissions("s")
    assert [tasks.add(b"%d" % number, f"waiter {number}") for number in range(1, count + 1)] == list(
        range(1, count + 1)
    )
    return tasks


def sent(tasks: Submissions[str], stream: int = 7) -> list[SubmitBatch]:
    return [msgspec.msgpack.decode(payload, type=SubmitBatch) for payload in tasks.take_batches(stream)]


def encoded(batch: ResultBatch) -> bytes:
    return msgspec.msgpack.encode(batch)


def test_what_gathers_is_one_batch_and_the_next_goes_on_counting() -> None:
    tasks = gathered(2)
    assert tasks.has_gathered
    assert sent(tasks) == [SubmitBatch("s", 7, 1, [b"1", b"2"])]
    assert not tasks.has_gathered
    assert sent(tasks) == []
    assert tasks.add(b"3", "waiter 3") == 3
    assert sent(tasks) == [SubmitBatch("s", 7, 3, [b"3"])]


@given(st.lists(st.integers(0, 3 << 19), max_size=12))
def test_large_inputs_are_cut_into_batches_of_a_mebibyte_in_order(sizes: list[int]) -> None:
    tasks: Submissions[int] = Submissions("s")
    for number, size in enumerate(sizes):
        tasks.add(bytes(size), number)
    batches = [msgspec.msgpack.decode(payload, type=SubmitBatch) for payload in tasks.take_batches(7)]
    assert [len(data or b"") for batch in batches for data in batch.inputs] == sizes
    number = 1
    for batch in batches:
        assert batch.first_number == number
        assert len(batch.inputs) == 1 or sum(len(data or b"") for data in batch.inputs) <= 1 << 20
        number += len(batch.inputs)


def test_results_find_who_waits_for_them_in_any_order() -> None:
    tasks = gathered(3)
    outputs, errors = tasks.sort(encoded(ResultBatch([(3, SUCCEED, b"three", None), (1, SUCCEED, None, None)])))
    assert (outputs, errors) == ([("waiter 3", b"three"), ("waiter 1", None)], [])
    assert len(tasks) == 1


def test_failures_and_refusals_are_errors_with_their_codes() -> None:
    tasks = gathered(5)
    batch = ResultBatch(
        [(1, FAILED, None, "ValueError: no"), (2, CANCELLED, None, None)],
        [(3, 2, int(FlameErrorCode.NOT_FOUND), "no session")],
    )
    outputs, errors = tasks.sort(encoded(batch))
    assert outputs == []
    assert [(waiter, error.code, error.message) for waiter, error in errors] == [
        ("waiter 1", FlameErrorCode.INTERNAL, "ValueError: no"),
        ("waiter 2", FlameErrorCode.INVALID_STATE, "the task was cancelled"),
        ("waiter 3", FlameErrorCode.NOT_FOUND, "no session"),
        ("waiter 4", FlameErrorCode.NOT_FOUND, "no session"),
    ]
    assert tasks.end() == ["waiter 5"]


def test_what_nobody_waits_for_is_dropped() -> None:
    tasks = gathered(2)
    tasks.forget(1)
    tasks.forget(1)
    batch = ResultBatch([(1, SUCCEED, b"", None), (9, SUCCEED, b"", None)], [(1, 1, 0, "")])
    assert tasks.sort(encoded(batch)) == ([], [])
    assert [batch.inputs for batch in sent(tasks)] == [[b"1", b"2"]], "numbers have no gaps"


def test_after_the_end_nobody_waits_and_nothing_is_sent() -> None:
    tasks = gathered(2)
    assert tasks.end() == ["waiter 1", "waiter 2"]
    assert (len(tasks), sent(tasks), tasks.end()) == (0, [], [])
