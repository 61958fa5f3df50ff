"""Service processes that die or dawdle in the middle of their work."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, TaskState
from tests.conftest import DEADLINE_S, FAULT_S, Gate, act, executors_of, expect_refusal, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewSession


def pids(session: flamepy.Session) -> list[int]:
    return [executor.pid for executor in executors_of(session) if executor.pid is not None]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (act("exit", 3), "exited with status 3; the last lines of stderr:\nleaving with 3"),
        (act("exit", 0), "exited with status 0"),
        (act("vanish", 9), "exited with status 9"),
        (act("die"), "was killed by SIGKILL"),
    ],
)
def test_a_service_that_ends_its_process_fails_that_task_only(session: flamepy.Session, task: bytes, text: str) -> None:
    assert session.run(b"before").result(FAULT_S) == b"before"
    [before] = pids(session)
    with expect_refusal(FlameErrorCode.INTERNAL, "executor", text):
        session.run(task, max_retries=0).result(FAULT_S)
    assert session.run(b"after").result(FAULT_S) == b"after"
    [after] = pids(session)
    assert after != before
    now = session.connection.get_session(session.id)
    assert (now.succeed, now.failed) == (2, 1)


def test_a_service_that_dies_at_every_task_fails_each_of_them(session: flamepy.Session) -> None:
    futures = [session.run(act("die"), max_retries=0) for _ in range(8)]
    for future in futures:
        with expect_refusal(FlameErrorCode.INTERNAL, "was killed by SIGKILL"):
            future.result(DEADLINE_S)
    assert session.run(b"after").result(FAULT_S) == b"after"


def test_a_killed_executor_fails_its_task_and_the_others_go_on(new_session: NewSession, gate: Gate) -> None:
    session = new_session(instances=2)
    doomed = session.run(gate.task, max_retries=0)
    pid = gate.wait_until_reached()
    others = [session.run(b"%d" % number) for number in range(50)]
    os.kill(pid, signal.SIGKILL)
    with expect_refusal(FlameErrorCode.INTERNAL, "was killed by SIGKILL"):
        doomed.result(FAULT_S)
    assert [other.result(FAULT_S) for other in others] == [b"%d" % number for number in range(50)]


def test_the_watcher_of_a_killed_executor_s_task_is_told(session: flamepy.Session, gate: Gate) -> None:
    task = session.create_task(gate.task, max_retries=0)
    os.kill(gate.wait_until_reached(), signal.SIGKILL)
    last = list(session.watch_task(task.id, FAULT_S))[-1]
    assert last.state is TaskState.FAILED
    [event] = [event for event in session.get_task(task.id).events or () if event.code == 3]
    assert "was killed by SIGKILL" in (event.message or "")


def test_an_executor_killed_with_many_quick_tasks_loses_and_doubles_none(
    session: flamepy.Session, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    for number in range(200):  # so that it is given many at a time
        session.run(b"%d" % number)
    assert session.run(b"warm").result(DEADLINE_S) == b"warm"
    futures = [session.run(act("note", str(notes), str(number))) for number in range(3000)]
    wait_until(lambda: notes.exists() and notes.stat().st_size > 1000, "some are done")
    for pid in pids(session):
        os.kill(pid, signal.SIGKILL)
    assert [future.result(DEADLINE_S) for future in futures] == [b"%d" % number for number in range(3000)]
    assert set(map(int, notes.read_text().split())) == set(range(3000))
    now = session.connection.get_session(session.id)
    assert (now.succeed, now.failed, now.pending, now.running) == (3201, 0, 0, 0)


def test_one_deadly_task_among_many_is_the_only_one_that_fails(session: flamepy.Session) -> None:
    for number in range(200):
        session.run(b"%d" % number)
    tasks = [act("die") if number == 150 else b"%d" % number for number in range(300)]
    futures = [session.run(task) for task in tasks]
    for number, future in enumerate(futures):
        if number == 150:
            with expect_refusal(FlameErrorCode.INTERNAL, "was killed by SIGKILL"):
                future.result(DEADLINE_S)
        else:
            assert future.result(DEADLINE_S) == tasks[number]


def test_a_long_task_submitted_with_quick_ones_does_not_hold_them_up(new_session: NewSession, gate: Gate) -> None:
    session = new_session(instances=2)
    futures = [session.run(b"%d" % number) for number in range(500)]
    long = session.run(gate.task)
    futures += [session.run(b"%d" % number) for number in range(500, 1000)]
    assert [future.result(FAULT_S) for future in futures] == [b"%d" % number for number in range(1000)]
    gate.wait_until_reached()
    assert not long.done()
    gate.open()
    assert long.result(FAULT_S) == b"through"


def test_a_long_task_does_not_hold_up_quick_ones_that_come_later(new_session: NewSession, gate: Gate) -> None:
    session = new_session(instances=2)
    for future in [session.run(b"%d" % number) for number in range(2000)]:  # both are trusted with many at a time
        future.result(DEADLINE_S)
    long = session.run(gate.task)
    gate.wait_until_reached()
    futures = [session.run(b"%d" % number) for number in range(500)]
    assert [future.result(FAULT_S) for future in futures] == [b"%d" % number for number in range(500)]
    gate.open()
    assert long.result(FAULT_S) == b"through"


def test_two_long_tasks_given_to_one_executor_are_done_by_two(new_session: NewSession, tmp_path: Path) -> None:
    session = new_session(instances=2)
    gates = [Gate(tmp_path, "first"), Gate(tmp_path, "second")]
    for future in [session.run(b"%d" % number) for number in range(2000)]:
        future.result(DEADLINE_S)
    futures = [session.run(gate.task) for gate in gates]
    try:
        assert len({gate.wait_until_reached() for gate in gates}) == 2
    finally:
        for gate in gates:
            gate.open()
    assert [future.result(FAULT_S) for future in futures] == [b"through"] * 2
