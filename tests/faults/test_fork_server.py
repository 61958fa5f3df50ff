"""An instance and its fork server: what executors are, and what goes on when the server or the daemon is killed."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

import flamepy
from tests.conftest import FAULT_S, NOTHING, act, actor_session, executors_of, register_actor, wait_until

if TYPE_CHECKING:
    from tests.conftest import Daemon, Gate, Place


def servers_of(daemon: Daemon) -> list[psutil.Process]:
    """The daemon's fork server, if there is one now."""
    return [each for each in psutil.Process(daemon.process.pid).children() if is_server(each)]


def is_server(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return "zygote" in " ".join(process.cmdline())
    return False


def server_of(daemon: Daemon) -> psutil.Process:
    [server] = servers_of(daemon)
    return server


def process_of(session: flamepy.Session) -> psutil.Process:
    """The session's one executor."""
    [executor] = executors_of(session)
    return psutil.Process(executor.pid)


def has_no_executor(session: flamepy.Session) -> bool:
    return not executors_of(session)


def test_executors_of_python_services_are_forked_and_look_like_themselves(
    own_daemon: Daemon, own_client: flamepy.Connection
) -> None:
    session = actor_session(own_client)
    session.invoke(b"x")
    process = process_of(session)
    assert process.ppid() == server_of(own_daemon).pid
    assert (process.cmdline(), process.name()) == (["python3", "actor.py"], "python3")
    session.close()


def test_other_programs_are_executed(own_daemon: Daemon, own_client: flamepy.Connection) -> None:
    own_client.unregister_application("actor")
    register_actor(own_client, arguments=["-s", "actor.py"])
    session = actor_session(own_client)
    session.invoke(b"x")
    assert process_of(session).ppid() == own_daemon.process.pid
    session.close()


def test_executors_go_on_and_new_ones_come_when_the_server_is_killed(
    own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate
) -> None:
    session = actor_session(own_client)
    busy = session.run(gate.task)
    gate.wait_until_reached()
    killed = server_of(own_daemon)
    killed.kill()
    other = actor_session(own_client)
    assert other.run(b"meanwhile").result(FAULT_S) == b"meanwhile"
    gate.open()
    assert busy.result(FAULT_S) == b"through"
    assert session.run(b"after").result(FAULT_S) == b"after"
    for each in (session, other):
        each.close()
        wait_until(functools.partial(has_no_executor, each), "its executor has ended", FAULT_S)
        assert not each.connection.get_session(each.id).events
    wait_until(lambda: [each for each in servers_of(own_daemon) if each != killed], "there is a new server", FAULT_S)


def test_a_daemon_that_is_killed_takes_server_and_executors_along(
    place: Place, own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate
) -> None:
    session = actor_session(own_client)
    session.run(gate.task)
    gate.wait_until_reached()
    server = server_of(own_daemon)
    own_daemon.kill()
    wait_until(lambda: not server.is_running(), "the server has ended", FAULT_S)
    place.wait_until_empty(FAULT_S)


def test_without_a_fork_server_services_work_as_well(place: Place) -> None:
    command = [sys.executable, "-m", "hearth", "up", "--no-fork-server", "--rundir", str(place.folder / "run")]
    with subprocess.Popen(
        command, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as up:
        assert up.stdout is not None
        uri = up.stdout.readline().split()[1]
        with contextlib.closing(flamepy.connect(uri)) as client:
            register_actor(client)
            session = client.create_session(flamepy.SessionAttributes("actor", max_instances=1, resreq=NOTHING))
            session.invoke(act("print", "here"))
            assert process_of(session).ppid() == up.pid
            session.close()
        up.send_signal(signal.SIGTERM)
        assert up.wait(FAULT_S) == 0
