"""The daemon is killed and started again: it is the same instance, and whoever waited gets what he waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionState, TaskState
from tests.conftest import (
    DEADLINE_S,
    FAULT_S,
    NOTHING,
    Daemon,
    Gate,
    act,
    actor_session,
    expect_refusal,
    register_actor,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Place


@pytest.fixture
def daemon(place: Place) -> Iterator[Daemon]:
    """One whose executors and clients look for it when it is gone."""
    daemon = Daemon(place, FLAME_RECONNECT_TIMEOUT=f"{DEADLINE_S}")
    yield daemon
    daemon.stop()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[flamepy.Connection]:
    with contextlib.closing(daemon.connect(DEADLINE_S)) as connection:
        register_actor(connection)
        yield connection


def test_futures_made_before_the_kill_have_their_answers_after_it(daemon: Daemon, client: flamepy.Connection) -> None:
    session = actor_session(client, instances=2)
    futures = [session.run(b"%d" % number) for number in range(20_000)]
    for _ in range(3):
        wait_until(lambda: any(future.done() for future in futures[-20_000:]), "some are done")
        daemon.restart()
    assert [future.result(DEADLINE_S) for future in futures] == [b"%d" % number for number in range(20_000)]
    now = client.get_session(session.id)
    assert (now.succeed, now.failed, now.pending, now.running) == (20_000, 0, 0, 0)


def test_a_task_that_is_at_work_is_finished_by_the_same_instance_and_not_begun_again(
    daemon: Daemon, client: flamepy.Connection, gate: Gate, tmp_path: Path
) -> None:
    session = actor_session(client)
    session.invoke(act("note", str(tmp_path / "notes"), "before"))
    at_work = session.run(gate.task)
    pid = gate.wait_until_reached()
    daemon.restart()
    wait_until(lambda: client.get_session(session.id).running == 1, "the new daemon knows of it")
    gate.open()
    assert at_work.result(FAULT_S) == b"through"
    assert session.invoke(act("pid")) == b"%d" % pid


def test_an_idle_instance_keeps_what_it_has_in_memory(daemon: Daemon, client: flamepy.Connection) -> None:
    session = actor_session(client)
    pid = session.invoke(act("pid"))
    daemon.restart()
    assert session.invoke(act("pid")) == pid


def test_what_a_service_prints_while_there_is_no_daemon_is_not_lost(
    daemon: Daemon, client: flamepy.Connection, gate: Gate
) -> None:
    session = actor_session(client)
    at_work = session.run(gate.task)
    gate.wait_until_reached()
    printed = session.run(act("print", "while nobody reads"))
    daemon.kill()
    gate.open()
    daemon.start()
    assert at_work.result(FAULT_S) == b"through"
    printed.result(FAULT_S)
    wait_until(lambda: b"while nobody reads" in session.logs()[0].stdout, "the line is in the log", FAULT_S)


def test_a_killed_daemon_leaves_every_acknowledged_task(daemon: Daemon, client: flamepy.Connection, gate: Gate) -> None:
    session = actor_session(client)
    session.create_task(gate.task)
    gate.wait_until_reached()
    made = [session.create_task(b"%d" % number) for number in range(50)]
    daemon.restart()
    with contextlib.closing(daemon.connect()) as other:
        listed = list(other.get_session(session.id).list_tasks())
        assert [(task.id, task.input) for task in listed[1:]] == [(task.id, task.input) for task in made]
    gate.open()
    last = list(session.watch_task(made[-1].id, DEADLINE_S))[-1]
    assert (last.state, last.output) == (TaskState.SUCCEED, b"49")


def test_sessions_tasks_and_applications_are_as_they_were(daemon: Daemon, client: flamepy.Connection) -> None:
    client.register_application("other", flamepy.ApplicationAttributes(command="true", labels=["x"], delay_release=7))
    other = client.get_application("other")
    spec = flamepy.SessionAttributes(
        "actor", "kept", b"", max_instances=3, resreq=flamepy.ResourceRequirement(1, 1 << 20), priority=4
    )
    session = client.create_session(spec)
    empty, nothing, failed = (session.create_task(data) for data in (b"", act("nothing"), act("fail", "on purpose")))
    for task in (empty, nothing, failed):
        list(session.watch_task(task.id, DEADLINE_S))
    closed = actor_session(client)
    closed.close()
    before = {task.id: task for task in session.list_tasks()}
    daemon.restart()
    assert client.get_application("other") == other
    assert {app.name for app in client.list_applications()} >= {"actor", "other", "flmping"}
    assert client.get_session(closed.id).state is SessionState.CLOSED
    again = client.open_session("kept", spec)
    assert (again.common_data(), again.creation_time, again.succeed, again.failed) == (b"", session.creation_time, 2, 1)
    assert {task.id: task for task in again.list_tasks()} == before
    assert (before["1"].output, before["2"].output) == (b"", None)
    with expect_refusal(FlameErrorCode.ALREADY_EXISTS):
        client.create_session(spec)


def test_the_end_of_a_task_that_ended_before_the_restart_is_watched_with_its_output(
    daemon: Daemon, client: flamepy.Connection
) -> None:
    session = actor_session(client)
    session.invoke(b"x")
    daemon.restart()
    [last] = session.watch_task("1", DEADLINE_S)
    assert last == session.get_task("1")
    assert (last.state, last.input, last.output) == (TaskState.SUCCEED, b"x", b"x")


def test_blocking_calls_wait_for_the_daemon_to_come_back(daemon: Daemon, client: flamepy.Connection) -> None:
    session = actor_session(client)
    task = session.create_task(b"x")
    watcher = session.watch_task(task.id, DEADLINE_S)
    assert list(watcher)[-1].state is TaskState.SUCCEED
    daemon.kill()
    answers: list[object] = []
    calls = [
        lambda: answers.append(client.get_session(session.id).id),
        lambda: answers.append(session.invoke(b"y")),
        lambda: answers.append(session.create_task(b"z").input),
        lambda: answers.append(client.create_session(flamepy.SessionAttributes("actor", "new")).id),
    ]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    daemon.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(map(str, answers)) == sorted([session.id, "b'y'", "b'z'", "new"])
    assert len(list(session.list_tasks())) == 3


def test_a_request_that_was_carried_out_before_the_kill_is_not_an_error_after_it(
    daemon: Daemon, client: flamepy.Connection
) -> None:
    """Stopped, the daemon has the request in its socket; killed and started again it is asked once more."""
    for number in range(10):
        made = threading.Thread(
            target=client.create_session, args=[flamepy.SessionAttributes("actor", f"made-{number}", resreq=NOTHING)]
        )
        made.start()
        daemon.restart()
        made.join(DEADLINE_S)
        assert client.get_session(f"made-{number}").state is SessionState.OPEN


def test_a_session_that_was_closed_meanwhile_still_gives_the_answers_it_has(
    daemon: Daemon, client: flamepy.Connection
) -> None:
    session = actor_session(client)
    session.invoke(b"warm")
    futures = [session.run(b"%d" % number) for number in range(2500)]
    wait_until(lambda: client.get_session(session.id).succeed == 2501, "all are done", DEADLINE_S)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    daemon.start()
    with contextlib.closing(daemon.connect()) as other:
        other.close_session(session.id)
    assert [future.result(DEADLINE_S) for future in futures] == [b"%d" % number for number in range(2500)]


def test_whoever_watches_a_task_that_ended_before_the_restart_gets_its_output(
    daemon: Daemon, client: flamepy.Connection
) -> None:
    session = actor_session(client)
    session.invoke(b"kept")
    daemon.restart()
    (state,) = session.watch_task("1", DEADLINE_S)
    assert (state.state, state.input, state.output) == (TaskState.SUCCEED, b"kept", b"kept")


def test_a_daemon_that_does_not_come_back_is_told_when_the_time_is_over(
    own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate
) -> None:
    """Not at once, and not never."""
    with contextlib.closing(own_daemon.connect(0.5)) as impatient:
        future = actor_session(impatient).run(gate.task)
        gate.wait_until_reached()
        own_daemon.kill()
        with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
            future.result(FAULT_S)


def test_no_number_below_zero_is_a_reconnect_timeout(own_daemon: Daemon) -> None:
    for wrong in (-1, float("nan")):
        with expect_refusal(FlameErrorCode.INVALID_CONFIG, "reconnect_timeout"):
            flamepy.connect(own_daemon.uri, reconnect_timeout=wrong)
