"""A LeanFuture is to be told from a stock future by nothing but its price."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import sys
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError, as_completed, wait
from typing import TYPE_CHECKING

import pytest

from flamepy.core.futures import LeanFuture, resolve
from tests.conftest import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 2000


def run_together(*functions: Callable[[], object]) -> None:
    """Each on a thread of its own, all let go at once; what one raises is raised here."""
    barrier = threading.Barrier(len(functions))

    def start(function: Callable[[], object]) -> None:
        barrier.wait(DEADLINE_S)
        function()

    # Daemons, so that a deadlock is a failed test and not a run that never ends.
    done: list[Future[None]] = [Future() for _ in functions]

    def run(function: Callable[[], object], told: Future[None]) -> None:
        try:
            start(function)
        except BaseException as error:
            told.set_exception(error)
        else:
            told.set_result(None)

    for function, told in zip(functions, done, strict=True):
        threading.Thread(target=run, args=(function, told), daemon=True).start()
    for told in done:
        told.result(DEADLINE_S)


@pytest.fixture(params=["looked at before", "not looked at"])
def touch(request: pytest.FixtureRequest) -> Callable[[LeanFuture], LeanFuture]:
    """A future has two ways to its result: with a condition of its own, or with the common one."""

    def look(future: LeanFuture) -> LeanFuture:
        if request.param == "looked at before":
            assert not future.done()
        return future

    return look


def test_a_new_future_is_pending() -> None:
    future = LeanFuture()
    assert not future.done()
    assert not future.running()
    assert not future.cancelled()
    assert "pending" in repr(future)


def test_a_result_arrives(touch: Callable[[LeanFuture], LeanFuture]) -> None:
    future = touch(LeanFuture())
    resolve([(future, b"output")])
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.result() == future.result(timeout=0) == b"output"
    assert future.exception() is None
    assert "finished" in repr(future)


def test_no_output_is_a_result_too(touch: Callable[[LeanFuture], LeanFuture]) -> None:
    future = touch(LeanFuture())
    resolve([(future, None)])
    assert future.result(timeout=0) is None


def test_a_failure_is_raised(touch: Callable[[LeanFuture], LeanFuture]) -> None:
    future = touch(LeanFuture())
    error = ValueError("why")
    future.set_exception(error)
    assert future.exception() is error
    with pytest.raises(ValueError, match="why"):
        future.result()


def test_waiting_for_a_pending_future_times_out() -> None:
    with pytest.raises(concurrent.futures.TimeoutError):
        LeanFuture().result(timeout=0)
    with pytest.raises(concurrent.futures.TimeoutError):
        LeanFuture().exception(timeout=0.001)


def test_a_cancelled_future_stays_cancelled_when_its_result_arrives() -> None:
    future = LeanFuture()
    assert future.cancel()
    assert future.cancel()
    resolve([(future, b"late")])
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()


def test_a_resolved_future_cannot_be_cancelled(touch: Callable[[LeanFuture], LeanFuture]) -> None:
    future = touch(LeanFuture())
    resolve([(future, b"output")])
    assert not future.cancel()
    assert future.result() == b"output"


def test_a_resolved_future_takes_no_second_result(touch: Callable[[LeanFuture], LeanFuture]) -> None:
    future = touch(LeanFuture())
    resolve([(future, b"output")])
    with pytest.raises(InvalidStateError):
        future.set_result(b"other")
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert future.result() == b"output"


def test_callbacks_run_in_order_and_late_ones_at_once(touch: Callable[[LeanFuture], LeanFuture]) -> None:
    future = touch(LeanFuture())
    called: list[tuple[int, object]] = []
    future.add_done_callback(lambda done: called.append((0, done.result())))
    future.add_done_callback(lambda done: called.append((1, done.result())))
    assert not called
    resolve([(future, b"output")])
    future.add_done_callback(lambda done: called.append((2, done.result())))
    assert called == [(0, b"output"), (1, b"output"), (2, b"output")]


def test_a_callback_may_use_every_other_future() -> None:
    """The common condition is not held while callbacks run."""
    first, second = LeanFuture(), LeanFuture()
    seen: list[object] = []
    first.add_done_callback(lambda _: run_together(lambda: seen.append(second.result(DEADLINE_S))))
    resolve([(first, b"1"), (second, b"2")])
    assert seen == [b"2"]


@pytest.mark.parametrize("when", [concurrent.futures.FIRST_COMPLETED, concurrent.futures.ALL_COMPLETED])
def test_wait_tells_the_done_from_the_pending(when: str) -> None:
    resolved, pending = LeanFuture(), LeanFuture()
    resolve([(resolved, b"")])
    assert wait([resolved, pending], timeout=0, return_when=when) == ({resolved}, {pending})


def test_wait_and_as_completed_see_futures_of_both_kinds_and_stock_ones() -> None:
    futures: list[Future[bytes | None]] = [LeanFuture() for _ in range(6)]
    stock: Future[bytes | None] = Future()
    stock.set_result(b"stock")
    lean = [future for future in futures if isinstance(future, LeanFuture)]
    lean[0].done()
    resolve((future, b"%d" % number) for number, future in enumerate(lean[:3]))
    later = threading.Timer(0, resolve, [[(future, b"%d" % number) for number, future in enumerate(lean[3:], 3)]])
    later.start()
    outputs = {future.result() for future in as_completed([stock, *futures], DEADLINE_S)}
    later.join()
    assert outputs == {b"stock", *(b"%d" % number for number in range(6))}
    assert not wait(futures, timeout=DEADLINE_S).not_done


def test_those_who_wait_for_a_cancelled_future_are_told() -> None:
    future = LeanFuture()
    future.cancel()
    resolve([(future, b"late")])
    assert list(as_completed([future], timeout=DEADLINE_S)) == [future]


class _Crew:
    """Two threads that start each step together: starting threads anew would leave nothing to race."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(2)
        self._barrier = threading.Barrier(2)

    def race(self, *functions: Callable[[], object]) -> None:
        for told in [self._pool.submit(self._start, function) for function in functions]:
            told.result(DEADLINE_S)

    def _start(self, function: Callable[[], object]) -> None:
        self._barrier.wait(DEADLINE_S)
        function()

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def crew() -> Iterator[_Crew]:
    with contextlib.closing(_Crew()) as crew:
        yield crew


def test_resolve_races_with_result(crew: _Crew) -> None:
    def once(future: LeanFuture) -> None:
        got: list[object] = []
        crew.race(lambda: got.append(future.result(DEADLINE_S)), lambda: resolve([(future, b"x")]))
        assert got == [b"x"]

    for _ in range(ROUNDS):
        once(LeanFuture())


def test_resolve_races_with_cancel(crew: _Crew) -> None:
    def once(future: LeanFuture) -> None:
        cancelled: list[bool] = []
        crew.race(lambda: cancelled.append(future.cancel()), lambda: resolve([(future, b"x")]))
        assert cancelled == [future.cancelled()]
        assert future.cancelled() or future.result(timeout=0) == b"x"

    for _ in range(ROUNDS):
        once(LeanFuture())


def test_resolve_races_with_add_done_callback(crew: _Crew) -> None:
    def once(future: LeanFuture) -> None:
        called: list[object] = []
        crew.race(
            lambda: future.add_done_callback(lambda done: called.append(done.result())),
            lambda: resolve([(future, b"x")]),
        )
        assert called == [b"x"]

    for _ in range(ROUNDS):
        once(LeanFuture())


def test_resolve_races_with_many_who_use_the_futures_in_every_way() -> None:
    """One resolver in small batches; others wait, cancel, look, add callbacks; nothing is lost, nothing hangs."""
    futures = [LeanFuture() for _ in range(4000)]
    called = itertools.count()

    def resolver() -> None:
        for start in range(0, len(futures), 7):
            resolve([(future, b"x") for future in futures[start : start + 7]])

    def ask() -> None:
        for future in futures:
            try:
                assert future.result(DEADLINE_S) == b"x"
            except CancelledError:
                assert future.cancelled()

    def call_back() -> None:
        for future in futures[::3]:
            future.add_done_callback(lambda _: next(called))

    run_together(
        resolver,
        ask,
        lambda: [future.cancel() for future in futures[::5]],
        call_back,
        lambda: [wait(futures[start : start + 50], timeout=DEADLINE_S) for start in range(0, len(futures), 50)],
    )
    assert all(future.done() for future in futures)
    assert next(called) == len(futures[::3])


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns after a few bytecodes, so that what may go wrong does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_wait_for_the_same_futures_do_not_lock_each_other_out() -> None:
    """`wait` takes the conditions of all its futures in the order of their ids: they must be as many locks."""
    first, pending, last = sorted((LeanFuture() for _ in range(3)), key=id)
    resolve([(first, b"x"), (last, b"x")])

    def look(*futures: LeanFuture) -> None:
        for _ in range(3000):
            wait(futures, timeout=0)

    run_together(lambda: look(first, pending), lambda: look(pending, last))


def test_a_future_that_its_owner_resolved_himself_keeps_that_result() -> None:
    future = LeanFuture()
    future.set_result(b"his own")
    resolve([(future, b"late")])
    assert future.result() == b"his own"
