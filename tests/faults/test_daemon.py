"""The instance itself dies or is told to stop: everyone who waits is told, and nothing stays behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from flamepy import FlameErrorCode
from tests.conftest import DEADLINE_S, FAULT_S, Gate, act, actor_session, expect_refusal, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Daemon, Place


def on_a_thread(function: Callable[[], object]) -> Future[object]:
    """What the function ends with, once it does."""
    told: Future[object] = Future()

    def run() -> None:
        try:
            told.set_result(function())
        except BaseException as error:
            told.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return told


def test_everyone_who_waits_is_told_that_the_daemon_is_gone(
    own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate
) -> None:
    session = actor_session(own_client)
    futures = [session.run(gate.task), *(session.run(b"x") for _ in range(100))]
    gate.wait_until_reached()
    watcher = session.watch_task("1")
    next(watcher)
    waiting = [
        on_a_thread(lambda: session.invoke(b"x")),
        on_a_thread(lambda: list(watcher)),
        on_a_thread(lambda: [session.create_task(b"x") for _ in range(1_000_000)]),
        on_a_thread(lambda: [session.get_task("1") for _ in range(1_000_000)]),
    ]
    wait_until(lambda: own_client.get_session(session.id).pending > 101, "they all wait")
    own_daemon.kill()
    ends: list[Future[Any]] = [*futures, *waiting]
    for told in ends:
        with expect_refusal(FlameErrorCode.INTERNAL, own_daemon.uri, "is lost"):
            told.result(FAULT_S)
    for use in (session.run, session.invoke, session.create_task):
        with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
            use(b"x")
    with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
        session.close()
    with expect_refusal(FlameErrorCode.INVALID_CONFIG, "no instance answers"):
        own_daemon.connect()


@pytest.mark.parametrize("at", ["idle", "at work", "entering", "leaving", "many"])
def test_executors_end_by_themselves_when_the_daemon_is_gone(
    own_daemon: Daemon, own_client: flamepy.Connection, tmp_path: Path, at: str
) -> None:
    gate = Gate(tmp_path)
    session = actor_session(own_client, gate.task if at == "entering" else None)
    if at == "idle":
        session.invoke(b"x")
    elif at == "at work":
        session.run(gate.task)
        gate.wait_until_reached()
    elif at == "entering":
        session.run(b"x")
        gate.wait_until_reached()
    elif at == "leaving":
        session.invoke(act("leave_at", str(tmp_path / "gate")))
        session.close()
        gate.wait_until_reached()
    else:
        for _ in range(20_000):
            session.run(b"x")
    own_daemon.kill()
    own_daemon.place.wait_until_empty(FAULT_S)


def test_sigterm_lets_the_running_task_finish(own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate) -> None:
    session = actor_session(own_client)
    running, waiting = session.run(gate.task), session.run(b"x")
    gate.wait_until_reached()
    own_daemon.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in own_daemon.log(), "the daemon drains")
    gate.open()
    assert running.result(FAULT_S) == b"through"
    with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
        waiting.result(FAULT_S)
    assert own_daemon.process.wait(FAULT_S) == 0


def test_a_second_sigterm_stops_at_once(own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate) -> None:
    session = actor_session(own_client)
    running = session.run(gate.task)
    gate.wait_until_reached()
    own_daemon.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in own_daemon.log(), "the daemon drains")
    own_daemon.signal(signal.SIGTERM)
    with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):  # the task is not to blame, and waits again
        running.result(FAULT_S)
    assert own_daemon.process.wait(FAULT_S) == 0
    own_daemon.place.wait_until_empty(FAULT_S)


def test_a_stopped_daemon_leaves_its_stores_and_nothing_else(own_daemon: Daemon) -> None:
    own_daemon.stop()
    assert not list(own_daemon.rundir.iterdir())
    assert {path.name for path in own_daemon.statedir.iterdir()} == {"content.sqlite", "flame.sqlite"}


def test_tasks_of_a_client_that_was_killed_are_done(
    own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate
) -> None:
    session = actor_session(own_client)
    with contextlib.closing(own_daemon.connect()) as other:
        task = other.get_session(session.id).create_task(gate.task)
        gate.wait_until_reached()
    gate.open()
    assert list(session.watch_task(task.id, DEADLINE_S))[-1].output == b"through"
    session.close()


def test_a_service_that_leaves_while_the_program_ends_may_finish(place: Place) -> None:
    """Closing and ending at once: the private instance waits for on_session_leave."""
    program = """
import sys
import flamepy
flamepy.register_application("leaver", {"command": sys.executable, "arguments": [sys.argv[1]]})
session = flamepy.create_session("leaver")
session.invoke(b"x")
session.close()
"""
    service = place.folder / "leaver.py"
    service.write_text(
        f"""
import pathlib, threading
import flamepy
class Leaver(flamepy.FlameService):
    def on_task_invoke(self, context):
        return context.input
    def on_session_leave(self):
        threading.Event().wait(0.2)
        pathlib.Path({str(place.folder / "left")!r}).touch()
flamepy.run(Leaver())
""",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "-c", program, str(service)], env=place.environment(), check=True, timeout=FAULT_S)
    assert (place.folder / "left").exists()
