"""`Session.map`: outputs in order or as they complete, a bounded number of tasks out, and an end whenever one likes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest

import flamepy
from flamepy import FlameErrorCode
from flamepy.core.mapping import REPORT_S, map_inputs
from tests.conftest import DEADLINE_S, Gate, act, actor_session, expect_refusal, wait_until
from tests.forking import in_a_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.conftest import Daemon, NewSession


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


class Taken:
    """Endless inputs, and how many of them were taken."""

    def __init__(self, inputs: Iterable[bytes] = ()) -> None:
        self.count = 0
        self._inputs = itertools.chain(inputs, (b"%d" % number for number in itertools.count()))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.count += 1
        return next(self._inputs)


class Recorded:
    """A session that remembers its futures."""

    def __init__(self, session: flamepy.Session) -> None:
        self.futures: list[Future[bytes | None]] = []
        self.connection = session.connection
        self._session = session

    def run(self, input_data: bytes) -> Future[bytes | None]:
        self.futures.append(self._session.run(input_data))
        return self.futures[-1]

    @property
    def map(self) -> Callable[..., Iterator[bytes | None]]:
        return functools.partial(map_inputs, cast("flamepy.Session", self))

    def has_cancelled_the_rest(self) -> bool:
        """Whether each of them is done or cancelled, and some are cancelled."""
        return all(one.done() for one in self.futures) and any(one.cancelled() for one in self.futures)


@contextlib.contextmanager
def in_a_thread(function: Callable[[], object]) -> Iterator[Future[object]]:
    """It runs beside the block, and has ended well behind it."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(function)
        yield running
        running.result(DEADLINE_S)


# -- order


def test_outputs_come_in_the_order_of_the_inputs(new_session: NewSession) -> None:
    assert list(new_session(instances=2).map(numbers(5000))) == numbers(5000)


def test_an_output_waits_for_those_before_it(new_session: NewSession, gate: Gate) -> None:
    outputs = new_session(instances=2).map([gate.task, b"1", b"2"])
    with in_a_thread(lambda: next(outputs)) as first:
        gate.wait_until_reached()
        assert not first.done()
        gate.open()
    assert first.result() == b"through"
    assert list(outputs) == [b"1", b"2"]


def test_as_completed_each_output_has_the_index_of_its_input(new_session: NewSession) -> None:
    outputs = list(new_session(instances=2).map(numbers(5000), ordered=False))
    assert sorted(outputs) == [(number, b"%d" % number) for number in range(5000)]


def test_as_completed_a_slow_task_holds_up_no_other(new_session: NewSession, gate: Gate) -> None:
    outputs = new_session(instances=2).map([gate.task, *numbers(20)], ordered=False)
    assert sorted(itertools.islice(outputs, 20)) == [(number + 1, b"%d" % number) for number in range(20)]
    gate.open()
    assert list(outputs) == [(0, b"through")]


@pytest.mark.parametrize("ordered", [True, False])
def test_no_inputs_give_no_outputs(session: flamepy.Session, ordered: bool) -> None:
    assert list(Recorded(session).map([], ordered=ordered)) == []


def test_no_output_is_an_output_too(session: flamepy.Session) -> None:
    assert list(session.map([act("return", None), act("return", "")])) == [None, b""]
    assert list(session.map([act("return", None)], return_exceptions=True)) == [None]


# -- how much is out


def test_nothing_is_taken_or_submitted_before_the_first_next(session: flamepy.Session) -> None:
    inputs = Taken()
    outputs = session.map(inputs)
    assert inputs.count == 0
    assert next(outputs) == b"0"
    outputs.close()


@pytest.mark.parametrize("ordered", [True, False])
def test_no_more_than_in_flight_are_out(session: flamepy.Session, gate: Gate, ordered: bool) -> None:
    inputs = Taken([gate.task])
    outputs = Recorded(session).map(inputs, in_flight=5, ordered=ordered)
    with in_a_thread(lambda: next(outputs)):
        gate.wait_until_reached()
        wait_until(lambda: inputs.count >= 5, "the window is full")
        gate.open()
    assert inputs.count == 5
    for handed_out in range(2, 30):
        next(outputs)
        assert inputs.count - handed_out < 5


def test_one_at_a_time_is_possible(session: flamepy.Session) -> None:
    inputs = Taken()
    for number, output in enumerate(session.map(inputs, in_flight=1)):
        assert (output, inputs.count) == (b"%d" % number, number + 1)
        if number == 20:
            break


def test_what_is_done_is_handed_out_before_inputs_fill_the_window(session: flamepy.Session) -> None:
    session.invoke(b"the executor is there")
    inputs = Taken()
    assert next(session.map(inputs, in_flight=1_000_000)) == b"0"
    assert inputs.count < 1_000_000


@pytest.mark.parametrize("in_flight", [0, -1])
def test_in_flight_below_one_is_refused_at_once(session: flamepy.Session, in_flight: int) -> None:
    with pytest.raises(ValueError, match=rf"in_flight: got {in_flight}, want 1 or more"):
        session.map([], in_flight=in_flight)


# -- failures


def test_a_failed_task_raises_in_its_place_and_ends_the_iteration(session: flamepy.Session) -> None:
    outputs = session.map([b"0", b"1", act("fail", "two"), b"3"])
    assert [next(outputs), next(outputs)] == [b"0", b"1"]
    with expect_refusal(FlameErrorCode.INTERNAL, "ValueError: two"):
        next(outputs)
    assert list(outputs) == []


def test_a_failed_task_raises_as_completed_too(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.INTERNAL, "ValueError: one"):
        list(session.map([b"0", act("fail", "one")], ordered=False))


def test_errors_can_be_handed_out_like_outputs(session: flamepy.Session) -> None:
    inputs = [b"0", act("fail", "one"), b"2"]
    first, failed, last = session.map(inputs, return_exceptions=True)
    assert (first, last) == (b"0", b"2")
    assert isinstance(failed, flamepy.FlameError)
    assert "ValueError: one" in failed.message
    by_index = dict(session.map(inputs, ordered=False, return_exceptions=True))
    assert (by_index[0], by_index[2]) == (b"0", b"2")
    assert isinstance(by_index[1], flamepy.FlameError)


@pytest.mark.parametrize("wrong", ["text", None, 7])
def test_an_input_that_is_no_bytes_is_refused_in_its_place(session: flamepy.Session, wrong: object) -> None:
    inputs = [b"0", cast("bytes", wrong), b"2"]
    outputs = session.map(inputs)
    assert next(outputs) == b"0"
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "must be bytes", type(wrong).__name__):
        next(outputs)
    _, refused, last = session.map(inputs, return_exceptions=True)
    assert isinstance(refused, flamepy.FlameError)
    assert last == b"2"


def test_a_closed_session_refuses_with_the_first_next(session: flamepy.Session) -> None:
    session.close()
    for ordered in (True, False):
        outputs = Recorded(session).map(numbers(3), ordered=ordered)
        with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
            next(outputs)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_connection_that_is_closed_meanwhile_ends_the_iteration(
    shared_daemon: Daemon, session: flamepy.Session, gate: Gate, ordered: bool
) -> None:
    with contextlib.closing(shared_daemon.connect()) as connection:
        outputs = Recorded(connection.get_session(session.id)).map(itertools.repeat(gate.task), ordered=ordered)

        def iterate() -> None:
            with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
                next(outputs)

        with in_a_thread(iterate):
            gate.wait_until_reached()
            connection.close()
    gate.open()


def test_what_the_inputs_raise_comes_out_and_cancels_what_is_out(session: flamepy.Session, gate: Gate) -> None:
    def inputs() -> Iterator[bytes]:
        yield gate.task
        raise OSError("no more rows")

    recorded = Recorded(session)
    with pytest.raises(OSError, match="no more rows"):
        list(recorded.map(inputs()))
    assert recorded.has_cancelled_the_rest()
    gate.open()


def test_inputs_must_be_iterable(session: flamepy.Session) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        session.map(cast("list[bytes]", 7))


def test_an_iterator_is_not_for_a_callback_which_must_not_wait(session: flamepy.Session, gate: Gate) -> None:
    raised: Future[BaseException | None] = Future()

    def callback(_: Future[bytes | None]) -> None:
        try:
            next(session.map([gate.task]))
        except flamepy.FlameError as error:
            raised.set_result(error)

    session.run(b"x").add_done_callback(callback)
    error = raised.result(DEADLINE_S)
    assert isinstance(error, flamepy.FlameError)
    assert error.code is FlameErrorCode.INVALID_STATE
    assert "callback" in error.message
    gate.open()


# -- an early end


@pytest.mark.parametrize("ordered", [True, False])
def test_a_break_cancels_what_is_out(session: flamepy.Session, gate: Gate, ordered: bool) -> None:
    recorded = Recorded(session)
    for _output in recorded.map(itertools.chain([b"0"], itertools.repeat(gate.task)), ordered=ordered):
        break
    assert recorded.has_cancelled_the_rest()
    gate.open()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failure_cancels_what_is_out(session: flamepy.Session, gate: Gate, ordered: bool) -> None:
    recorded = Recorded(session)
    inputs = itertools.chain([act("fail", "first")], itertools.repeat(gate.task, 10))
    with expect_refusal(FlameErrorCode.INTERNAL, "ValueError: first"):
        list(recorded.map(inputs, ordered=ordered))
    assert recorded.has_cancelled_the_rest()
    gate.open()


def test_closing_an_iterator_that_was_never_used_does_nothing(session: flamepy.Session) -> None:
    inputs = Taken()
    outputs = session.map(inputs)
    outputs.close()
    assert list(outputs) == []
    assert inputs.count == 0


def test_what_is_out_when_the_iteration_ends_is_cancelled_where_it_runs(session: flamepy.Session, gate: Gate) -> None:
    outputs = session.map(itertools.chain([b"0"], itertools.repeat(gate.task)), in_flight=5)
    assert next(outputs) == b"0"
    outputs.close()
    states = [task.state for task in session.list_tasks()]
    assert len(states) > 1
    assert set(states[1:]) == {flamepy.TaskState.CANCELLED}


def test_the_tasks_have_the_options_given(session: flamepy.Session, gate: Gate) -> None:
    with expect_refusal(FlameErrorCode.INTERNAL):
        next(session.map([gate.task], timeout=0.05))
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT):
        session.map([], max_retries=-1)
    assert list(session.map([b"x"], timeout=30, max_retries=1)) == [b"x"]


# -- progress


def test_progress_grows_to_the_end_and_is_told_by_the_thread_that_iterates(new_session: NewSession) -> None:
    told: list[tuple[int, int]] = []
    threads: set[int] = set()

    def progress(done: int, submitted: int) -> None:
        told.append((done, submitted))
        threads.add(threading.get_ident())

    began = time.monotonic()
    assert len(list(new_session(instances=2).map(numbers(3000), progress=progress))) == 3000
    assert len(told) <= (time.monotonic() - began) / REPORT_S + 2
    assert told == sorted(set(told))
    assert told[-1] == (3000, 3000)
    assert all(done <= submitted for done, submitted in told)
    assert threads == {threading.get_ident()}


def test_progress_is_told_while_a_task_is_waited_for(new_session: NewSession, gate: Gate) -> None:
    told: list[tuple[int, int]] = []
    outputs = new_session(instances=2).map(
        [*numbers(10), gate.task, b"last"], progress=lambda done, submitted: told.append((done, submitted))
    )
    with in_a_thread(lambda: list(outputs)):
        gate.wait_until_reached()
        wait_until(lambda: told and told[-1] == (10, 12), "what is done before the slow one is told")
        gate.open()
    assert told[-1] == (12, 12)


def test_progress_of_nothing_is_told_once(session: flamepy.Session) -> None:
    told: list[tuple[int, int]] = []
    assert list(session.map([], progress=lambda done, submitted: told.append((done, submitted)))) == []
    assert told == [(0, 0)]


def test_what_progress_raises_comes_out_and_cancels_what_is_out(session: flamepy.Session, gate: Gate) -> None:
    def progress(done: int, submitted: int) -> None:
        raise KeyError(submitted)

    recorded = Recorded(session)
    with pytest.raises(KeyError):
        next(recorded.map([gate.task] * 3, progress=progress))
    assert recorded.has_cancelled_the_rest()
    gate.open()


# -- threads and processes


def test_each_thread_has_a_map_of_its_own(new_session: NewSession) -> None:
    session = new_session(instances=2)

    def use(thread: int) -> bool:
        inputs = [json.dumps({"thread": thread, "n": n}).encode() for n in range(500)]
        outputs = sorted(session.map(inputs, ordered=False, in_flight=50))
        return list(session.map(inputs, in_flight=50)) == inputs == [output for _, output in outputs]

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(use, range(6)))


@pytest.mark.parametrize("ordered", [True, False])
def test_an_iterator_stays_with_the_process_that_made_it(
    shared_daemon: Daemon, client: flamepy.Connection, gate: Gate, ordered: bool
) -> None:
    session = actor_session(client, instances=1)
    outputs = Recorded(session).map([b"0", gate.task, b"2"], ordered=ordered)
    next(outputs)

    def child() -> None:
        with expect_refusal(FlameErrorCode.INVALID_STATE, "made before a fork"):
            list(outputs)

    assert in_a_child(child) == 0
    gate.open()
    assert len(list(outputs)) == 2
    session.close()
