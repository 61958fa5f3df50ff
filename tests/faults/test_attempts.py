"""Tasks whose service dies are done again, those that take too long are ended; nobody else suffers."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, TaskState
from tests.conftest import (
    DEADLINE_S,
    FAULT_S,
    NOTHING,
    Gate,
    act,
    executors_of,
    expect_refusal,
    has_closed,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewSession


def events(session: flamepy.Session, task_id: str, code: int) -> list[str]:
    return [event.message or "" for event in session.get_task(task_id).events or () if event.code == code]


def test_a_task_whose_executor_is_killed_is_done_by_another(session: flamepy.Session, gate: Gate) -> None:
    future = session.run(gate.task)
    os.kill(gate.wait_until_reached(), signal.SIGKILL)
    gate.open()
    assert future.result(DEADLINE_S) == b"through"
    (told,) = events(session, "1", 16)
    assert told.startswith("Task was returned to <Pending> after attempt 1 of 4: executor ")
    assert told.endswith(" was killed by SIGKILL")
    now = session.connection.get_session(session.id)
    assert (now.succeed, now.failed, now.running, now.pending) == (1, 0, 0, 0)


def test_a_deadly_task_is_given_up_with_the_number_of_attempts_and_the_last_words(session: flamepy.Session) -> None:
    future = session.run(act("exit", 3), max_retries=1)
    with expect_refusal(
        FlameErrorCode.INTERNAL,
        "given up after 2 attempts: executor ",
        "exited with status 3; the last lines of stderr:\nleaving with 3",
    ):
        future.result(DEADLINE_S)
    assert len(events(session, "1", 16)) == 1
    assert len(events(session, "1", 3)) == 1


def test_a_session_says_how_often_its_tasks_are_done_again(client: flamepy.Connection) -> None:
    attributes = SessionAttributes("actor", max_instances=1, resreq=NOTHING, max_retries=0)
    with client.create_session(attributes) as session:
        with expect_refusal(FlameErrorCode.INTERNAL, "was killed by SIGKILL"):
            session.invoke(act("die"))
        with expect_refusal(FlameErrorCode.INTERNAL, "given up after 2 attempts"):
            session.invoke(act("die"), max_retries=1)


def test_a_service_that_raises_is_not_asked_again(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.INTERNAL, "ValueError: final"):
        session.invoke(act("fail", "final"))
    assert session.get_task("1").events is not None
    assert not events(session, "1", 16)


def test_a_task_that_runs_too_long_fails_and_its_session_goes_on(session: flamepy.Session, gate: Gate) -> None:
    future = session.run(gate.task, timeout=0.2)
    pid = gate.wait_until_reached()
    with expect_refusal(FlameErrorCode.INTERNAL, "task timed out: it ran longer than 0.2 s"):
        future.result(FAULT_S)
    assert events(session, "1", 3) == ["task timed out: it ran longer than 0.2 s"]
    assert session.run(b"after").result(DEADLINE_S) == b"after"
    assert [executor.pid != pid for executor in executors_of(session)] == [True]


def test_a_session_says_how_long_its_tasks_may_run(client: flamepy.Connection, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, name) for name in ("first", "second")]
    attributes = SessionAttributes("actor", max_instances=1, resreq=NOTHING, timeout=0.2)
    with client.create_session(attributes) as session:
        assert session.invoke(b"warm") == b"warm"
        with expect_refusal(FlameErrorCode.INTERNAL, "longer than 0.2 s"):
            session.invoke(gates[0].task)
        patient = session.run(gates[1].task, timeout=DEADLINE_S)
        gates[1].wait_until_reached()
        gates[1].open()
        assert patient.result(DEADLINE_S) == b"through"


def test_quick_tasks_around_one_that_times_out_are_all_done(session: flamepy.Session, gate: Gate) -> None:
    before = [session.run(b"%d" % number) for number in range(300)]
    stuck = session.run(gate.task, timeout=0.2)
    after = [session.run(b"%d" % number) for number in range(300)]
    for futures in (before, after):
        assert [future.result(DEADLINE_S) for future in futures] == [b"%d" % number for number in range(300)]
    with expect_refusal(FlameErrorCode.INTERNAL, "timed out"):
        stuck.result(FAULT_S)
    now = session.connection.get_session(session.id)
    assert (now.succeed, now.failed) == (600, 1)


def test_a_cancelled_task_that_is_stuck_frees_its_executor_soon(session: flamepy.Session, gate: Gate) -> None:
    stuck = session.run(gate.task)
    pid = gate.wait_until_reached()
    waiting = [session.run(b"%d" % number) for number in range(20)]
    assert stuck.cancel()
    assert [future.result(FAULT_S) for future in waiting] == [b"%d" % number for number in range(20)]
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the stuck process is gone")
    now = session.connection.get_session(session.id)
    assert (now.succeed, now.failed, now.cancelled) == (20, 0, 1)
    assert session.get_task("1").state is TaskState.CANCELLED


def test_closing_by_force_ends_the_processes_of_its_tasks(new_session: NewSession, tmp_path: Path) -> None:
    session = new_session(instances=2)
    gates = [Gate(tmp_path, name) for name in ("first", "second")]
    futures = [session.run(gate.task) for gate in gates]
    pids = [gate.wait_until_reached() for gate in gates]
    session.close(force=True)
    for future in futures:
        with expect_refusal(FlameErrorCode.INVALID_STATE, "cancelled: its session was closed"):
            future.result(FAULT_S)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "both are gone", FAULT_S)
    assert has_closed(session)
