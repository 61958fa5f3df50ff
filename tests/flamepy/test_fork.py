"""A fork leaves the parent's connection to the parent; the child makes its own."""

from __future__ import annotations

import concurrent.futures
import contextlib
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import flamepy
from flamepy import FlameErrorCode
from tests.conftest import DEADLINE_S, actor_session, expect_refusal
from tests.forking import in_a_child

if TYPE_CHECKING:
    from tests.conftest import Daemon, Gate, Place


def test_the_child_is_told_that_the_connection_is_the_parent_s(session: flamepy.Session) -> None:
    session.invoke(b"x")

    def child() -> None:
        uses = (
            session.connection.list_sessions,
            lambda: session.run(b"x"),
            lambda: session.invoke(b"x"),
            lambda: session.create_task(b"x"),
            lambda: session.get_task("1"),
            lambda: session.watch_task("1"),
            session.close,
        )
        for use in uses:
            with expect_refusal(FlameErrorCode.INVALID_STATE, "made before a fork; connect again in the child"):
                use()
        session.connection.close()

    assert in_a_child(child) == 0
    assert session.invoke(b"y") == b"y"


def test_a_connection_that_was_closed_before_does_not_matter(shared_daemon: Daemon, session: flamepy.Session) -> None:
    closed = [shared_daemon.connect() for _ in range(3)]
    for connection in closed:
        connection.close()

    def child() -> None:
        with expect_refusal(FlameErrorCode.INVALID_STATE, "made before a fork"):
            session.connection.list_sessions()

    assert in_a_child(child) == 0


def test_the_child_may_connect_anew(shared_daemon: Daemon, session: flamepy.Session) -> None:
    session.invoke(b"x")

    def child() -> None:
        with contextlib.closing(shared_daemon.connect()) as connection:
            assert connection.get_session(session.id).invoke(b"from the child") == b"from the child"

    assert in_a_child(child) == 0
    assert session.get_task("2").input == b"from the child"


def test_the_parent_s_futures_are_resolved_in_the_parent(session: flamepy.Session, gate: Gate) -> None:
    futures = [session.run(gate.task), *(session.run(b"%d" % number) for number in range(100))]
    gate.wait_until_reached()
    assert in_a_child(lambda: None) == 0
    gate.open()
    assert futures[0].result(DEADLINE_S) == b"through"
    assert [future.result(DEADLINE_S) for future in futures[1:]] == [b"%d" % number for number in range(100)]


def test_the_child_does_not_wait_for_the_parent_s_futures(session: flamepy.Session, gate: Gate) -> None:
    futures = [session.run(gate.task), session.run(b"x")]
    told = threading.Event()
    futures[0].add_done_callback(lambda _future: told.set())
    waiter = threading.Thread(target=futures[0].result)
    waiter.start()
    gate.wait_until_reached()

    def child() -> None:
        for future in futures:
            with expect_refusal(FlameErrorCode.INVALID_STATE, "made before a fork; connect again in the child"):
                future.result()
        assert concurrent.futures.wait(futures).not_done == set()
        assert not told.is_set()

    assert in_a_child(child) == 0
    gate.open()
    waiter.join(DEADLINE_S)
    assert [future.result(DEADLINE_S) for future in futures] == [b"through", b"x"]
    assert told.wait(DEADLINE_S)


def test_forks_in_the_middle_of_traffic_disturb_neither_side(shared_daemon: Daemon, client: flamepy.Connection) -> None:
    session = actor_session(client)
    over = threading.Event()

    def traffic() -> None:
        while not over.is_set():
            for future in [session.run(b"x") for _ in range(50)]:
                assert future.result(DEADLINE_S) == b"x"

    def child() -> None:
        with contextlib.closing(shared_daemon.connect()) as connection:
            futures = [connection.get_session(session.id).run(b"%d" % number) for number in range(20)]
            assert [future.result(DEADLINE_S) for future in futures] == [b"%d" % number for number in range(20)]

    worker = threading.Thread(target=traffic)
    worker.start()
    try:
        assert [in_a_child(child) for _ in range(10)] == [0] * 10
    finally:
        over.set()
        worker.join()
    session.close()


def test_helpers_of_a_child_have_an_instance_of_their_own(place: Place) -> None:
    program = """
import flamepy, os, sys
session = flamepy.create_session("flmping", session_id="the parent's", min_instances=1)
session.invoke(b"")
pid = os.fork()
if pid == 0:
    assert flamepy.list_sessions() == []
    made = flamepy.create_session("flmping")
    assert made.invoke(b"")
    made.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert [s.id for s in flamepy.list_sessions()] == ["the parent's"]
assert session.invoke(b"")
session.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(place.folder.glob("hearth-*")) == []
