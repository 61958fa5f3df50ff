"""Futures come out of Completions when they finish, each once, however the two sides meet."""

from __future__ import annotations

import queue
import threading

import pytest

from flamepy.core.futures import Completions, LeanFuture, outcome_of, resolve
from tests.conftest import DEADLINE_S

ROUNDS = 2000


def test_futures_come_in_the_order_in_which_they_finish() -> None:
    completions = Completions()
    futures = [LeanFuture() for _ in range(4)]
    resolve([(futures[3], b"before it was added")])
    for future in futures:
        completions.add(future)
    assert completions.get_nowait() is futures[3]
    resolve([(futures[2], b"2")])
    futures[0].set_exception(OSError("0"))
    futures[1].cancel()
    assert [completions.get(DEADLINE_S) for _ in range(3)] == [futures[2], futures[0], futures[1]]
    with pytest.raises(queue.Empty):
        completions.get(0.001)


def test_an_added_future_behaves_as_any_other() -> None:
    completions = Completions()
    added, failed = LeanFuture(), LeanFuture()
    completions.add(added)
    completions.add(failed)
    assert not added.done()
    resolve([(added, b"output")])
    failed.set_exception(KeyError("key"))
    assert (added.result(), added.exception()) == (b"output", None)
    assert isinstance(failed.exception(), KeyError)


def test_the_outcome_is_none_until_it_is_there() -> None:
    future, failed, error = LeanFuture(), LeanFuture(), KeyError("key")
    assert outcome_of(future) is None
    resolve([(future, None)])
    failed.set_exception(error)
    assert outcome_of(future) == (None, None)
    assert outcome_of(failed) == (error, None)


@pytest.mark.parametrize("ending", ["resolved together", "resolved alone", "failed"])
def test_a_future_that_finishes_while_it_is_added_comes_out_once(ending: str) -> None:
    completions = Completions()
    futures = [LeanFuture() for _ in range(ROUNDS)]
    barrier = threading.Barrier(2)

    def finish() -> None:
        barrier.wait(DEADLINE_S)
        for future in futures:
            if ending == "resolved together":
                resolve([(future, b"")])
            elif ending == "resolved alone":
                future.set_result(b"")
            else:
                future.set_exception(KeyError())

    thread = threading.Thread(target=finish)
    thread.start()
    barrier.wait(DEADLINE_S)
    for future in futures:
        completions.add(future)
    assert {completions.get(DEADLINE_S) for _ in futures} == set(futures)
    with pytest.raises(queue.Empty):
        completions.get_nowait()
    thread.join()
