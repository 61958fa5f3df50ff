"""Tasks between submission and result: numbers, messages, and who waits for which. No connection is needed."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flamepy import FlameErrorCode, TaskState
from flamepy.core.submissions import Submissions
from flamepy.protocol import CancelTasks, OpenResults, ResultBatch, SubmitBatch, TaskOptions

SUCCEED, FAILED, CANCELLED = int(TaskState.SUCCEED), int(TaskState.FAILED), int(TaskState.CANCELLED)
T = TypeVar("T")


class Someone:
    """Who waits for one task."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.is_gone = False

    def cancelled(self) -> bool:
        return self.is_gone


def gathered(count: int) -> tuple[Submissions[Someone], list[Someone]]:
    tasks: Submissions[Someone] = Submissions("s", "me", is_resumable=True)
    waiters = [Someone(number) for number in range(1, count + 1)]
    assert [tasks.add(b"%d" % one.name, one) for one in waiters] == list(range(1, count + 1))
    return tasks, waiters


def messages(tasks: Submissions[Someone], stream: int = 7) -> list[SubmitBatch | CancelTasks]:
    return [
        msgspec.msgpack.decode(payload, type=SubmitBatch)
        if topic == "flame.task.submit"
        else msgspec.json.decode(payload.rstrip(b"\0"), type=CancelTasks)
        for topic, payload in tasks.take_messages(stream)
    ]


def batches(tasks: Submissions[Someone], stream: int = 7) -> list[SubmitBatch]:
    return [message for message in messages(tasks, stream) if isinstance(message, SubmitBatch)]


def asked(tasks: Submissions[Someone]) -> list[tuple[int, int]]:
    opened = msgspec.json.decode(tasks.opening().rstrip(b"\0"), type=OpenResults)
    assert (opened.session, opened.client) == ("s", "me")
    return opened.unanswered


def names(outcomes: list[tuple[Someone, T]]) -> list[tuple[int, T]]:
    return [(someone.name, outcome) for someone, outcome in outcomes]


# -- out


def test_what_gathers_is_one_batch_and_the_next_goes_on_counting() -> None:
    tasks, _ = gathered(2)
    assert messages(tasks) == [SubmitBatch("s", 7, 1, [b"1", b"2"], "me")]
    assert messages(tasks) == []
    assert tasks.add(b"3", Someone(3)) == 3
    assert messages(tasks) == [SubmitBatch("s", 7, 3, [b"3"], "me")]


@given(st.lists(st.integers(0, 3 << 19), max_size=12))
def test_large_inputs_are_cut_into_batches_of_a_mebibyte_in_order(sizes: list[int]) -> None:
    tasks, _ = gathered(0)
    for size in sizes:
        tasks.add(bytes(size), Someone(size))
    sent = batches(tasks)
    assert [len(data or b"") for batch in sent for data in batch.inputs] == sizes
    number = 1
    for batch in sent:
        assert batch.first_number == number
        assert len(batch.inputs) == 1 or sum(len(data or b"") for data in batch.inputs) <= 1 << 20
        number += len(batch.inputs)


def test_tasks_with_other_options_are_a_batch_of_their_own() -> None:
    tasks, _ = gathered(1)
    for options in (TaskOptions(2.5, 0), TaskOptions(2.5, 0), None):
        tasks.add(b"x", Someone(0), options)
    assert messages(tasks) == [
        SubmitBatch("s", 7, 1, [b"1"], "me"),
        SubmitBatch("s", 7, 2, [b"x", b"x"], "me", 2.5, 0),
        SubmitBatch("s", 7, 4, [b"x"], "me"),
    ]


def test_what_is_cancelled_is_told_behind_what_is_submitted() -> None:
    tasks, _ = gathered(2)
    tasks.cancel(2)
    tasks.cancel(9)
    assert messages(tasks) == [
        SubmitBatch("s", 7, 1, [b"1", b"2"], "me"),
        CancelTasks("s", stream=7, numbers=[2]),
    ]
    assert messages(tasks) == []


def test_tasks_without_results_are_numbered_apart() -> None:
    tasks, _ = gathered(1)
    made = [msgspec.msgpack.decode(tasks.creation(b"x", TaskOptions(1.0)), type=SubmitBatch) for _ in range(2)]
    assert made == [SubmitBatch("s", 0, number, [b"x"], "me-created", 1.0) for number in (1, 2)]


# -- in


def sort(tasks: Submissions[Someone], *results: tuple[int, int, bytes | None, str | None]) -> list[object]:
    outputs, errors = tasks.sort(ResultBatch(list(results)))
    return [*names(outputs), *((name, error.code) for name, error in names(errors))]


def test_results_find_who_waits_for_them_in_any_order() -> None:
    tasks, _ = gathered(3)
    assert sort(tasks, (3, SUCCEED, b"three", None), (1, SUCCEED, None, None)) == [(3, b"three"), (1, None)]
    assert len(tasks) == 1


def test_failures_and_refusals_are_errors_with_their_codes() -> None:
    tasks, waiters = gathered(5)
    batch = ResultBatch(
        [(1, FAILED, None, "ValueError: no"), (2, CANCELLED, None, None)],
        [(3, 2, int(FlameErrorCode.NOT_FOUND), "no session")],
    )
    outputs, errors = tasks.sort(tasks.decode(msgspec.msgpack.encode(batch)))
    assert outputs == []
    assert [(name, error.code, error.message) for name, error in names(errors)] == [
        (1, FlameErrorCode.INTERNAL, "ValueError: no"),
        (2, FlameErrorCode.INVALID_STATE, "the task was cancelled"),
        (3, FlameErrorCode.NOT_FOUND, "no session"),
        (4, FlameErrorCode.NOT_FOUND, "no session"),
    ]
    assert tasks.end() == waiters[4:]


def test_who_has_cancelled_is_not_told_that_the_task_was() -> None:
    tasks, waiters = gathered(1)
    waiters[0].is_gone = True
    assert sort(tasks, (1, CANCELLED, None, None)) == []
    assert len(tasks) == 0


def test_results_of_nobody_s_tasks_are_dropped() -> None:
    tasks, _ = gathered(1)
    assert sort(tasks, (9, SUCCEED, b"", None)) == []
    assert len(tasks) == 1


def test_after_the_end_nobody_waits_and_nothing_is_sent() -> None:
    tasks, waiters = gathered(2)
    assert tasks.end() == waiters
    assert (len(tasks), messages(tasks), tasks.end()) == (0, [], [])


# -- another connection


def test_the_first_connection_asks_for_nothing_it_has_missed() -> None:
    tasks, _ = gathered(2)
    assert asked(tasks) == []
    assert len(messages(tasks)) == 1


def test_a_new_connection_asks_for_what_was_sent_and_not_answered() -> None:
    tasks, _ = gathered(6)
    messages(tasks)
    sort(tasks, (3, SUCCEED, b"", None), (5, SUCCEED, b"", None))
    tasks.add(b"7", Someone(7))
    assert asked(tasks) == [(1, 2), (4, 1), (6, 1)]


def test_what_gathers_meanwhile_waits_until_it_is_known_what_was_lost() -> None:
    tasks, _ = gathered(3)
    messages(tasks)
    tasks.add(b"4", Someone(4))
    asked(tasks)
    assert messages(tasks) == []
    tasks.go_on([(2, 2)])
    assert messages(tasks, 8) == [
        SubmitBatch("s", 8, 2, [b"2", b"3"], "me"),
        SubmitBatch("s", 8, 4, [b"4"], "me"),
    ]
    assert len(sort(tasks, *((number, SUCCEED, None, None) for number in (4, 3, 2, 1)))) == 4


def test_what_is_sent_again_has_the_options_it_had() -> None:
    tasks, _ = gathered(1)
    tasks.add(b"2", Someone(2), TaskOptions(1.0, 3))
    messages(tasks)
    asked(tasks)
    tasks.go_on([(1, 2)])
    assert messages(tasks) == [SubmitBatch("s", 7, 1, [b"1"], "me"), SubmitBatch("s", 7, 2, [b"2"], "me", 1.0, 3)]


def test_what_was_cancelled_is_told_once_more() -> None:
    tasks, waiters = gathered(3)
    tasks.cancel(2)
    waiters[1].is_gone = True
    messages(tasks)
    asked(tasks)
    tasks.go_on([])
    assert messages(tasks, 8) == [CancelTasks("s", stream=8, numbers=[2])]


def test_a_connection_that_breaks_before_the_lost_are_sent_again_loses_nothing() -> None:
    tasks, _ = gathered(3)
    messages(tasks)
    for _ in range(2):
        assert asked(tasks) == [(1, 3)]
        tasks.go_on([(1, 1), (3, 1)])
    assert [batch.inputs for batch in batches(tasks)] == [[b"1"], [b"3"]]


class FarEnd:
    """What an instance has made, and what it has not told yet."""

    def __init__(self) -> None:
        self.made: dict[int, bytes | None] = {}
        self.untold: list[int] = []

    def take(self, sent: list[SubmitBatch]) -> None:
        for batch in sent:
            for number, data in enumerate(batch.inputs, batch.first_number):
                assert number not in self.made, "made twice"
                self.made[number] = data
                self.untold.append(number)

    def tell(self, count: int) -> ResultBatch:
        told, self.untold = self.untold[:count], self.untold[count:]
        return ResultBatch([(number, SUCCEED, self.made[number], None) for number in told])

    def unknown(self, unanswered: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """What has become no task of what a new connection asks for; the rest will be told again."""
        numbers = [number for first, count in unanswered for number in range(first, first + count)]
        self.untold = [number for number in numbers if number in self.made]
        return [(number, 1) for number in numbers if number not in self.made]


STEP = st.sampled_from(["add", "add with options", "send", "send half", "answer", "answers are lost", "break"])


@given(st.lists(STEP, max_size=30))
def test_whatever_breaks_when_each_task_is_made_once_and_answered(steps: list[str]) -> None:
    tasks, _ = gathered(0)
    far, added = FarEnd(), 0
    answered: list[int] = []
    for step in [*steps, "break"]:
        if step.startswith("add"):
            added += 1
            tasks.add(b"%d" % added, Someone(added), TaskOptions(1.0) if step == "add with options" else None)
        elif step == "send":
            far.take(batches(tasks))
        elif step == "answer":
            answered += [one.name for one, _ in tasks.sort(far.tell(2))[0]]
        else:
            if step == "send half":
                sent = batches(tasks)
                far.take(sent[: len(sent) // 2])
            elif step == "answers are lost":
                far.tell(2)
            unanswered = asked(tasks)
            unknown = far.unknown(unanswered)
            if unanswered:
                tasks.go_on(unknown)
            far.take(batches(tasks))
    answered += [one.name for one, _ in tasks.sort(far.tell(added))[0]]
    assert sorted(answered) == list(range(1, added + 1))
    assert far.made == {number: b"%d" % number for number in range(1, added + 1)}
