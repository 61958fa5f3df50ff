"""Tasks between submission and result: numbers, batches, and who waits for which. No connection is needed."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flamepy import FlameErrorCode, TaskState
from flamepy.core.submissions import Submissions
from flamepy.protocol import OpenResults, ResultBatch, SubmitBatch

SUCCEED, FAILED, CANCELLED = int(TaskState.SUCCEED), int(TaskState.FAILED), int(TaskState.CANCELLED)


def gathered(count: int) -> Submissions[str]:
    tasks: Submissions[str] = Submissions("s", "me", is_resumable=True)
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
    assert sent(tasks) == [SubmitBatch("s", 7, 1, [b"1", b"2"], "me")]
    assert not tasks.has_gathered
    assert sent(tasks) == []
    assert tasks.add(b"3", "waiter 3") == 3
    assert sent(tasks) == [SubmitBatch("s", 7, 3, [b"3"], "me")]


@given(st.lists(st.integers(0, 3 << 19), max_size=12))
def test_large_inputs_are_cut_into_batches_of_a_mebibyte_in_order(sizes: list[int]) -> None:
    tasks: Submissions[int] = Submissions("s", "me", is_resumable=True)
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


# -- another connection


def opened(tasks: Submissions[str]) -> list[tuple[int, int]]:
    asked = msgspec.json.decode(tasks.opening().rstrip(b"\0"), type=OpenResults)
    assert (asked.session, asked.client) == ("s", "me")
    return asked.unanswered


def test_the_first_connection_asks_for_nothing_it_has_missed() -> None:
    tasks = gathered(2)
    assert opened(tasks) == []
    assert tasks.has_gathered


def test_a_new_connection_asks_for_what_was_sent_and_not_answered() -> None:
    tasks = gathered(6)
    sent(tasks)
    tasks.sort(encoded(ResultBatch([(3, SUCCEED, b"", None)])))
    tasks.forget(5)
    tasks.add(b"7", "not sent yet")
    assert opened(tasks) == [(1, 2), (4, 1), (6, 1)]


def test_what_gathers_meanwhile_waits_until_it_is_known_what_was_lost() -> None:
    tasks = gathered(3)
    sent(tasks)
    tasks.add(b"4", "waiter 4")
    opened(tasks)
    assert not tasks.has_gathered
    assert sent(tasks) == []
    assert tasks.sort(encoded(ResultBatch([], [], [(2, 2)]))) == ([], [])
    assert tasks.has_gathered
    assert sent(tasks, 8) == [SubmitBatch("s", 8, 2, [b"2", b"3"], "me"), SubmitBatch("s", 8, 4, [b"4"], "me")]
    outputs, _ = tasks.sort(encoded(ResultBatch([(number, SUCCEED, None, None) for number in (4, 3, 2, 1)])))
    assert [waiter for waiter, _ in outputs] == ["waiter 4", "waiter 3", "waiter 2", "waiter 1"]


def test_a_connection_that_breaks_before_the_lost_are_sent_again_loses_nothing() -> None:
    tasks = gathered(3)
    sent(tasks)
    opened(tasks)
    tasks.sort(encoded(ResultBatch([], [], [(1, 3)])))
    for stream in (8, 9):
        assert opened(tasks) == [(1, 3)]
        tasks.sort(encoded(ResultBatch([], [], [(1, 1), (3, 1)])))
        if stream == 9:
            assert [batch.inputs for batch in sent(tasks, stream)] == [[b"1"], [b"3"]]


def test_a_task_given_up_while_it_is_asked_for_does_no_harm() -> None:
    tasks = gathered(3)
    sent(tasks)
    opened(tasks)
    tasks.forget(2)
    tasks.sort(encoded(ResultBatch([], [], [(1, 3)])))
    assert [batch.inputs for batch in sent(tasks)] == [[b"1", b"2", b"3"]]


class FarEnd:
    """What an instance has made, and what it has not told yet."""

    def __init__(self) -> None:
        self.made: dict[int, bytes | None] = {}
        self.untold: list[int] = []

    def take(self, batches: list[SubmitBatch]) -> None:
        for batch in batches:
            for number, data in enumerate(batch.inputs, batch.first_number):
                assert number not in self.made, "made twice"
                self.made[number] = data
                self.untold.append(number)

    def tell(self, count: int) -> bytes:
        told, self.untold = self.untold[:count], self.untold[count:]
        return encoded(ResultBatch([(number, SUCCEED, self.made[number], None) for number in told]))

    def lost(self, unanswered: list[tuple[int, int]]) -> bytes:
        asked = [number for first, count in unanswered for number in range(first, first + count)]
        return encoded(ResultBatch([], [], [(number, 1) for number in asked if number not in self.made]))


STEPS = st.lists(st.sampled_from(["add", "send", "send half", "answer", "answers are lost", "break"]), max_size=30)


@given(STEPS)
def test_whatever_breaks_when_each_task_is_made_once_and_answered(steps: list[str]) -> None:
    tasks: Submissions[str] = gathered(0)
    far, added = FarEnd(), 0
    answered: list[str] = []
    for step in [*steps, "break"]:
        if step == "add":
            added += 1
            tasks.add(b"%d" % added, f"{added}")
        elif step == "send":
            far.take(sent(tasks))
        elif step == "answer":
            outputs, _ = tasks.sort(far.tell(2))
            answered += [waiter for waiter, _ in outputs]
        else:
            if step == "send half":
                batches = sent(tasks)
                far.take(batches[: len(batches) // 2])
            elif step == "answers are lost":
                far.tell(2)
            unanswered = opened(tasks)
            far.untold = [n for first, count in unanswered for n in range(first, first + count) if n in far.made]
            if unanswered:
                tasks.sort(far.lost(unanswered))
            far.take(sent(tasks))
    outputs, _ = tasks.sort(far.tell(added))
    answered += [waiter for waiter, _ in outputs]
    assert sorted(answered, key=int) == [f"{number}" for number in range(1, added + 1)]
    assert far.made == {number: b"%d" % number for number in range(1, added + 1)}
