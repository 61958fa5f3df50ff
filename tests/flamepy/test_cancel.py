"""Tasks that are cancelled: by their future, by their id, and what everyone else sees of it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, TaskState
from tests.conftest import DEADLINE_S, FAULT_S, expect_refusal, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Daemon, Gate


@pytest.fixture
def stuck(client: flamepy.Connection) -> Iterator[flamepy.Session]:
    """A session whose tasks wait for ever."""
    client.register_application("never", {"shim": flamepy.Shim.WASM})
    with client.create_session(SessionAttributes("never")) as session:
        yield session
        session.close()
    client.unregister_application("never")


def now(session: flamepy.Session) -> flamepy.Session:
    return session.connection.get_session(session.id)


# -- futures


def test_cancelling_a_future_cancels_its_waiting_task(stuck: flamepy.Session) -> None:
    future = stuck.run(b"x")
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    with pytest.raises(CancelledError):
        future.result(FAULT_S)
    wait_until(lambda: now(stuck).cancelled == 1, "the instance knows")
    assert stuck.get_task("1").is_cancelled()
    assert now(stuck).pending == 0


def test_cancelling_a_future_cancels_its_running_task(session: flamepy.Session, gate: Gate) -> None:
    future = session.run(gate.task)
    gate.wait_until_reached()
    assert future.cancel()
    wait_until(lambda: now(session).cancelled == 1, "the instance knows")
    task = session.get_task("1")
    assert (task.state, task.output) == (TaskState.CANCELLED, None)
    assert (now(session).running, now(session).failed) == (0, 0)
    gate.open()
    assert session.invoke(b"next") == b"next"
    assert session.get_task("1").output is None


def test_those_who_wait_for_a_cancelled_future_are_told_at_once(stuck: flamepy.Session) -> None:
    futures = [stuck.run(b"x") for _ in range(5)]
    waiting = threading.Event()
    outcomes: list[set[concurrent.futures.Future[bytes | None]]] = []

    def wait() -> None:
        waiting.set()
        outcomes.append(concurrent.futures.wait(futures, DEADLINE_S).done)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(DEADLINE_S)
    for future in futures:
        assert future.cancel()
    thread.join(DEADLINE_S)
    assert outcomes == [set(futures)]
    assert set(concurrent.futures.as_completed(futures, timeout=0)) == set(futures)


def test_a_future_with_a_result_cannot_be_cancelled(session: flamepy.Session) -> None:
    future = session.run(b"x")
    assert future.result(DEADLINE_S) == b"x"
    assert not future.cancel()
    assert now(session).cancelled == 0


def test_a_callback_sees_that_its_future_was_cancelled(stuck: flamepy.Session) -> None:
    called: list[bool] = []
    future = stuck.run(b"x")
    future.add_done_callback(lambda done: called.append(done.cancelled()))
    future.cancel()
    wait_until(lambda: now(stuck).cancelled == 1, "the instance knows")
    assert called == [True]


def test_many_futures_are_cancelled_in_a_moment_and_no_other(stuck: flamepy.Session) -> None:
    futures = [stuck.run(b"x") for _ in range(20_000)]
    for future in futures[::2]:
        assert future.cancel()
    wait_until(lambda: now(stuck).cancelled == 10_000, "the instance knows")
    assert now(stuck).pending == 10_000
    states = [task.state for task in stuck.list_tasks()]
    assert states == [TaskState.CANCELLED, TaskState.PENDING] * 10_000
    assert not any(future.done() for future in futures[1::2])


def test_a_future_of_one_client_cancels_no_task_of_another(shared_daemon: Daemon, stuck: flamepy.Session) -> None:
    mine = stuck.run(b"mine")
    wait_until(lambda: now(stuck).pending == 1, "it is there")
    with contextlib.closing(shared_daemon.connect()) as other:
        theirs = other.open_session(stuck.id).run(b"theirs")
        wait_until(lambda: now(stuck).pending == 2, "both are there")
        assert theirs.cancel()
        wait_until(lambda: now(stuck).cancelled == 1, "the instance knows")
        assert stuck.get_task("2").is_cancelled()
        assert not mine.done()


def test_cancelling_in_a_callback_does_not_wait(session: flamepy.Session, stuck: flamepy.Session) -> None:
    other = stuck.run(b"x")
    session.run(b"x").add_done_callback(lambda _: other.cancel())
    wait_until(lambda: now(stuck).cancelled == 1, "it is cancelled")


def test_cancelling_on_a_closed_connection_is_local(shared_daemon: Daemon, stuck: flamepy.Session) -> None:
    with contextlib.closing(shared_daemon.connect()) as other:
        future = other.open_session(stuck.id).run(b"x")
        wait_until(lambda: now(stuck).pending == 1, "it is there")
    assert not future.cancel(), "it has failed with the connection"


# -- by id


def test_a_task_is_cancelled_by_its_id(stuck: flamepy.Session) -> None:
    first, second = stuck.create_task(b"1"), stuck.create_task(b"2")
    assert stuck.cancel_task(first.id)
    assert not stuck.cancel_task(first.id)
    task = stuck.get_task(first.id)
    assert (task.is_cancelled(), task.is_completed(), task.is_failed()) == (True, False, False)
    assert task.completion_time is not None
    assert [(event.code, event.message) for event in task.events or ()] == [
        (0, "Task was created with state <Pending>"),
        (17, "Task was cancelled"),
    ]
    assert stuck.get_task(second.id).state is TaskState.PENDING


def test_a_finished_task_is_not_cancelled(session: flamepy.Session) -> None:
    session.invoke(b"x")
    assert not session.cancel_task("1")
    assert session.get_task("1").state is TaskState.SUCCEED


def test_the_future_and_the_watcher_of_a_task_that_somebody_cancels_are_told(
    shared_daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    future = session.run(gate.task)
    gate.wait_until_reached()
    with session.watch_task("1", timeout=DEADLINE_S) as watcher:
        assert next(watcher).state is TaskState.RUNNING
        with contextlib.closing(shared_daemon.connect()) as other:
            assert other.get_session(session.id).cancel_task("1")
        assert [task.state for task in watcher] == [TaskState.CANCELLED]
    with expect_refusal(FlameErrorCode.INVALID_STATE, "cancelled"):
        future.result(FAULT_S)


def test_a_session_closes_as_soon_as_its_running_task_is_cancelled(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task)
    gate.wait_until_reached()
    assert session.cancel_task(task.id)
    session.close()
    assert now(session).cancelled == 1


@pytest.mark.parametrize("task_id", ["0", "2", "-1", "999999999999"])
def test_an_unknown_task_cannot_be_cancelled(stuck: flamepy.Session, task_id: str) -> None:
    stuck.create_task(b"x")
    with expect_refusal(FlameErrorCode.NOT_FOUND, f"task {task_id} not found", stuck.id):
        stuck.cancel_task(task_id)
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "'one' is not a number"):
        stuck.cancel_task("one")
