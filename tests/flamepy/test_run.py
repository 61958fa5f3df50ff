"""`run`, `invoke` and their futures, from any thread."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes
from flamepy.protocol import MAX_TASK_DATA_BYTES
from tests.conftest import DEADLINE_S, FAULT_S, act, actor_session, expect_refusal, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Daemon, Gate, NewSession

MEBIBYTE = 1 << 20


def test_each_of_five_thousand_futures_has_its_own_result(new_session: NewSession) -> None:
    session = new_session(instances=2)
    futures = {number: session.run(b"%d" % number) for number in range(5000)}
    assert {number: future.result(DEADLINE_S) for number, future in futures.items()} == {
        number: b"%d" % number for number in range(5000)
    }
    assert session.connection.get_session(session.id).succeed == 5000


def test_ten_invokes_from_five_threads_all_answer(new_session: NewSession) -> None:
    session = new_session(instances=2)
    with ThreadPoolExecutor(5) as threads:
        outputs = list(threads.map(session.invoke, [b"%d" % number for number in range(10)]))
    assert outputs == [b"%d" % number for number in range(10)]


def test_many_threads_share_a_session_and_get_their_own_results(new_session: NewSession) -> None:
    session = new_session(instances=2)

    def use(thread: int) -> bool:
        futures = [session.run(b"%d %d" % (thread, number)) for number in range(200)]
        return [future.result(DEADLINE_S) for future in futures] == [b"%d %d" % (thread, n) for n in range(200)]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(8)))


def test_four_parallel_tasks_on_two_instances(client: flamepy.Connection) -> None:
    session = client.create_session(SessionAttributes("actor", min_instances=2, resreq=flamepy.ResourceRequirement()))
    futures = [session.run(b"%d" % number) for number in range(4)]
    done, pending = concurrent.futures.wait(futures, DEADLINE_S)
    assert (len(done), len(pending)) == (4, 0)
    session.close()


def test_some_of_five_parallel_tasks_fail_and_the_others_do_not(new_session: NewSession) -> None:
    session = new_session(instances=2)
    inputs = [b"0", act("fail", "1"), b"2", act("fail", "3"), b"4"]

    def use(data: bytes) -> bytes | None:
        with contextlib.suppress(flamepy.FlameError):
            return session.invoke(data)
        return None

    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(use, inputs)) == [b"0", None, b"2", None, b"4"]
    now = session.connection.get_session(session.id)
    assert (now.succeed, now.failed) == (3, 2)


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE - 1, 8 * MEBIBYTE])
def test_large_data_goes_in_and_out_unchanged(session: flamepy.Session, size: int) -> None:
    data = bytes(itertools.islice(itertools.cycle(range(251)), size))
    assert session.invoke(data) == data
    task = session.create_task(data)
    assert list(session.watch_task(task.id, DEADLINE_S))[-1].output == data


def test_many_large_tasks_at_once(new_session: NewSession) -> None:
    session = new_session(instances=2)
    futures = [session.run(bytes([number]) * (4 * MEBIBYTE)) for number in range(40)]
    for number, future in enumerate(futures):
        assert future.result(DEADLINE_S) == bytes([number]) * (4 * MEBIBYTE)


def test_large_common_data_reaches_client_and_service(new_session: NewSession) -> None:
    session = new_session(b"c" * (8 * MEBIBYTE))
    assert len(session.common_data() or b"") == 8 * MEBIBYTE
    assert len(session.invoke(act("report")) or b"") > 8 * MEBIBYTE


def test_two_clients_on_one_session_get_their_own_results(shared_daemon: Daemon, session: flamepy.Session) -> None:
    with contextlib.closing(shared_daemon.connect()) as other:
        sessions = {b"mine": session, b"theirs": other.open_session(session.id)}
        futures = [
            (b"%s %d" % (who, number), one.run(b"%s %d" % (who, number)))
            for number in range(300)
            for who, one in sessions.items()
        ]
        assert all(future.result(DEADLINE_S) == data for data, future in futures)
    assert session.connection.get_session(session.id).succeed == 600


def test_two_session_objects_of_one_connection_share_their_stream(session: flamepy.Session) -> None:
    again = session.connection.get_session(session.id)
    futures = [one.run(b"%d" % n) for n, one in enumerate([session, again] * 50)]
    assert [future.result(DEADLINE_S) for future in futures] == [b"%d" % n for n in range(100)]


def test_futures_work_with_as_completed(session: flamepy.Session) -> None:
    futures = [session.run(b"%d" % number) for number in range(100)]
    completed = concurrent.futures.as_completed(futures, DEADLINE_S)
    assert {future.result() for future in completed} == {b"%d" % number for number in range(100)}


def test_waiting_for_a_task_can_time_out_and_go_on(session: flamepy.Session, gate: Gate) -> None:
    future = session.run(gate.task)
    gate.wait_until_reached()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.01)
    gate.open()
    assert future.result(DEADLINE_S) == b"through"


def test_a_failed_future_has_the_text_of_the_service(session: flamepy.Session) -> None:
    error = session.run(act("fail", "no luck")).exception(DEADLINE_S)
    assert isinstance(error, flamepy.FlameError)
    assert error.code is FlameErrorCode.INTERNAL
    assert error.message.startswith("ValueError: no luck")


def test_a_callback_may_run_further_tasks(session: flamepy.Session) -> None:
    outputs: Future[list[bytes]] = Future()
    collected: list[bytes] = []

    def on_done(done: Future[bytes | None]) -> None:
        collected.append(done.result() or b"")
        if len(collected) == 10:
            outputs.set_result(collected)
        else:
            session.run(b"%d" % len(collected)).add_done_callback(on_done)

    session.run(b"0").add_done_callback(on_done)
    assert outputs.result(DEADLINE_S) == [b"%d" % number for number in range(10)]


@pytest.mark.parametrize(
    "use",
    [
        lambda session: session.invoke(b"x"),
        lambda session: session.create_task(b"x"),
        lambda session: session.get_task("1"),
        lambda session: next(session.list_tasks()),
        lambda session: next(session.watch_task("1")),
        lambda session: session.close(),
        lambda session: session.connection.list_sessions(),
    ],
    ids=["invoke", "create_task", "get_task", "list_tasks", "watch_task", "close", "list_sessions"],
)
def test_a_callback_that_would_wait_for_its_own_thread_is_refused(
    session: flamepy.Session, gate: Gate, use: Callable[[flamepy.Session], object]
) -> None:
    told: Future[object] = Future()

    def on_done(_: object) -> None:
        try:
            told.set_result(use(session))
        except BaseException as error:
            told.set_exception(error)

    future = session.run(gate.task)
    future.add_done_callback(on_done)
    gate.open()
    with expect_refusal(FlameErrorCode.INVALID_STATE, "from a future's callback"):
        told.result(FAULT_S)
    assert session.invoke(b"next") == b"next"


def test_a_callback_that_raises_harms_nobody(
    session: flamepy.Session, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def on_done(_: object) -> None:
        raise ValueError("in the callback")

    future = session.run(gate.task)
    future.add_done_callback(on_done)
    gate.open()
    assert future.result(DEADLINE_S) == b"through"
    assert session.invoke(b"next") == b"next"
    wait_until(lambda: "in the callback" in caplog.text, "it is logged")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is the fault
def test_a_callback_that_exits_fails_those_who_wait_on_its_connection(
    session: flamepy.Session, gate: Gate, shared_daemon: Daemon
) -> None:
    """It runs on the connection's thread: without it nobody would ever be told anything."""
    with contextlib.closing(shared_daemon.connect()) as doomed:
        session = doomed.get_session(session.id)
        future, waiting = session.run(gate.task), session.run(b"x")
        future.add_done_callback(lambda _: sys.exit(3))
        gate.open()
        assert future.result(DEADLINE_S) == b"through"
        with contextlib.suppress(flamepy.FlameError):
            assert waiting.result(FAULT_S) == b"x"
        with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
            doomed.list_sessions()


def test_closing_cancels_what_waits(client: flamepy.Connection) -> None:
    client.register_application("stuck", {"shim": flamepy.Shim.WASM})
    session = client.create_session(SessionAttributes("stuck"))
    futures = [session.run(b"x") for _ in range(10)]
    session.close()
    for future in futures:
        with expect_refusal(FlameErrorCode.INVALID_STATE, "cancelled"):
            future.result(FAULT_S)
    assert client.get_session(session.id).cancelled == 10
    client.unregister_application("stuck")


def test_closing_while_a_task_runs_is_refused_and_changes_nothing(session: flamepy.Session, gate: Gate) -> None:
    running, waiting = session.run(gate.task), session.run(b"x")
    gate.wait_until_reached()
    with expect_refusal(FlameErrorCode.INVALID_STATE, "Cannot close session with running tasks"):
        session.close()
    gate.open()
    assert (running.result(DEADLINE_S), waiting.result(DEADLINE_S)) == (b"through", b"x")


def test_after_closing_nothing_is_taken(session: flamepy.Session) -> None:
    session.invoke(b"x")
    session.close()
    for use in (session.run, session.invoke, session.create_task):
        with expect_refusal(FlameErrorCode.INVALID_STATE, session.id, "is closed"):
            use(b"x")


def test_a_session_that_another_client_closed_takes_nothing(shared_daemon: Daemon, session: flamepy.Session) -> None:
    session.invoke(b"x")
    with contextlib.closing(shared_daemon.connect()) as other:
        other.close_session(session.id)
        got = other.get_session(session.id)
        with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
            got.run(b"x").result(FAULT_S)
    with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
        session.run(b"x").result(FAULT_S)
    with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
        session.invoke(b"x")


def test_threads_that_close_and_run_at_once_end_all(client: flamepy.Connection) -> None:
    """Each task is done, cancelled or refused; no future is left behind."""
    for _ in range(5):
        session = actor_session(client)
        futures: list[Future[bytes | None]] = []

        def submit(session: flamepy.Session = session, futures: list[Future[bytes | None]] = futures) -> None:
            with contextlib.suppress(flamepy.FlameError):
                futures.extend(session.run(b"x") for _ in range(2000))

        submitter = threading.Thread(target=submit)
        submitter.start()
        with contextlib.suppress(flamepy.FlameError):
            session.close()
        submitter.join()
        for future in futures:
            with contextlib.suppress(flamepy.FlameError):
                assert future.result(DEADLINE_S) == b"x"
        session.close()


def test_more_than_a_message_holds_is_refused_before_it_is_sent(session: flamepy.Session) -> None:
    too_much = bytes(MAX_TASK_DATA_BYTES + 1)  # untouched pages: it costs no memory
    for submit in (session.run, session.invoke, session.create_task):
        with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "at most"):
            submit(too_much)
    assert session.invoke(b"next") == b"next"
