"""Applications that come as packages: installed before they run, once, and whatever goes wrong is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes
from tests.conftest import DEADLINE_S, FAULT_S, SERVICES, Daemon, act, executors_of, expect_refusal, wait_until
from tests.hearth.installers.packages import serving, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Place
    from tests.hearth.installers.packages import Answer, Server

LITTLE = flamepy.ResourceRequirement(memory=1 << 20)
"""So little that there is room for several, whatever the machine has."""
ACTOR = (SERVICES / "actor.py").read_bytes()
PROJECT = {"pyproject.toml": b'[project]\nname = "acting"\nversion = "1"\n', "src/acting.py": ACTOR}
PROGRAM = {"bin/act": b'#!/bin/sh\nexec python3 "$FLAME_APP_DIR/share/actor.py"\n', "share/actor.py": ACTOR}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def client(own_daemon: Daemon) -> Iterator[flamepy.Connection]:
    with contextlib.closing(own_daemon.connect()) as connection:
        yield connection


@pytest.fixture
def package(place: Place) -> Path:
    """A Python project whose module acting is the actor."""
    path = place.folder / "acting-1.tar.gz"
    path.write_bytes(tar_of(PROJECT))
    return path


def register(client: flamepy.Connection, name: str, url: str | None, **attributes: object) -> None:
    python = {"command": "python3", "arguments": ["-m", "acting"], "installer": "python"}
    client.register_application(name, python | {"url": url} | attributes)


def session_of(client: flamepy.Connection, name: str, instances: int = 1) -> flamepy.Session:
    return client.create_session(
        SessionAttributes(name, min_instances=instances, max_instances=instances, resreq=LITTLE)
    )


def report_of(session: flamepy.Session) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(session.run(act("report")).result(DEADLINE_S) or b"")
    return told


def hang(server: Server) -> str:
    """A url of which half arrives."""
    server.answers["/hang.tar.gz"] = (200, {"Content-Length": "100000"}, b"x" * 50_000)
    return f"{server.url}/hang.tar.gz"


def installers_of(daemon: Daemon) -> list[int]:
    return [process.pid for process in daemon.place.processes() if "hearth.installers" in process.cmdline()]


def test_a_python_project_runs_with_its_own_module_path_in_a_fresh_folder(
    client: flamepy.Connection, package: Path
) -> None:
    register(client, "acting", package.as_uri(), environments={"PYTHONPATH": "/its/own"}, installer="Python")
    session = session_of(client, "acting")
    told = report_of(session)
    environment = told["environment"]
    root = environment["FLAME_APP_DIR"]
    deps, *rest = environment["PYTHONPATH"].split(os.pathsep)
    assert (deps, rest[:2], rest[-1]) == (f"{os.path.dirname(root)}/deps", [root, f"{root}/src"], "/its/own")
    assert environment["PATH"].startswith(f"{deps}/bin{os.pathsep}")
    assert environment["FLAME_PYTHON_VERSION"] == ".".join(map(str, sys.version_info[:2]))
    assert environment["UV_CACHE_DIR"].endswith(".cache/hearth/uv")
    assert environment["PIP_CACHE_DIR"].endswith(".cache/hearth/pip")
    assert told["folder"] == environment["TMPDIR"] != root
    assert told["application"]["url"] == package.as_uri()
    session.close()


def test_a_program_runs_with_its_bin_on_path(client: flamepy.Connection, place: Place) -> None:
    path = place.folder / "act.tgz"
    path.write_bytes(tar_of(PROGRAM, executable=("bin/act",)))
    variables = {"FLAME_PYTHON_VERSION": "9.9", "LD_LIBRARY_PATH": "/its/own"}
    register(client, "act", path.as_uri(), command="act", arguments=[], installer="binary", environments=variables)
    session = session_of(client, "act")
    environment = report_of(session)["environment"]
    root = environment["FLAME_APP_DIR"]
    assert environment["PATH"].startswith(f"{root}/bin{os.pathsep}{root}{os.pathsep}")
    assert environment["LD_LIBRARY_PATH"] == f"{root}/libs{os.pathsep}/its/own"
    assert environment["FLAME_PYTHON_VERSION"] == "9.9"
    session.close()


def test_without_an_installer_the_url_is_ignored(client: flamepy.Connection) -> None:
    register(client, "plain", "file:///no/such/file", installer=None, arguments=[str(SERVICES / "actor.py")])
    session = session_of(client, "plain")
    assert report_of(session)["application"]["url"] == "file:///no/such/file"
    assert "FLAME_APP_DIR" not in report_of(session)["environment"]
    session.close()


def test_many_executors_share_one_installation(client: flamepy.Connection, server: Server) -> None:
    server.answers["/p.tar.gz"] = (200, {}, tar_of(PROJECT))
    register(client, "acting", f"{server.url}/p.tar.gz")
    sessions = [session_of(client, "acting", instances=3) for _ in range(2)]
    assert len({report_of(session)["environment"]["FLAME_APP_DIR"] for session in sessions}) == 1
    wait_until(lambda: [e.state for s in sessions for e in executors_of(s)] == [4] * 6, "all serve")
    assert [path for _, path, _, _ in server.requests] == ["/p.tar.gz"]
    for session in sessions:
        session.close()


@pytest.mark.parametrize(
    ("attributes", "texts"),
    [
        ({"installer": "cobol"}, ["there is no installer 'cobol'; use python or binary"]),
        ({"installer": "binary", "url": None}, ["the installer binary needs a url"]),
        ({"url": "grpc://127.0.0.1:9090/x.tar.gz"}, ["the object cache is not here yet"]),
        ({"url": "http://[::1/x.zip"}, ["http://[::1/x.zip is no url"]),
        ({"url": "file:///no/such/file.zip"}, ["file:///no/such/file.zip", "No such file"]),
        ({"environments": {"FLAME_PYTHON_VERSION": "--evil"}}, ["FLAME_PYTHON_VERSION is '--evil'"]),
    ],
)
def test_a_failed_installation_is_told_with_its_own_return_code(
    client: flamepy.Connection, attributes: dict[str, object], texts: list[str]
) -> None:
    register(client, "broken", attributes.pop("url", "file:///x.zip"), **attributes)  # type: ignore[arg-type]
    session = session_of(client, "broken")
    whole = "failed to bind session with return_code 10: application installation failed: "
    with expect_refusal(FlameErrorCode.INTERNAL, whole, *texts):
        session.run(b"x").result(DEADLINE_S)
    now = client.get_session(session.id)
    assert [event.code for event in now.events] == [1001] * 5 + [1002]
    assert all(text in (event.message or "") for event in now.events for text in texts)
    session.close()


def test_an_archive_that_leads_out_of_itself_is_refused(client: flamepy.Connection, place: Place) -> None:
    package = place.folder / "evil.tar.gz"
    package.write_bytes(tar_of({**PROJECT, "../../../../../evil": b"x"}))
    register(client, "evil", package.as_uri())
    session = session_of(client, "evil")
    with expect_refusal(FlameErrorCode.INTERNAL, "evil.tar.gz is refused: its entry '../../../../../evil' leads out"):
        session.run(b"x").result(DEADLINE_S)
    session.close()
    assert not list(place.folder.rglob("evil"))


def test_a_failure_is_not_remembered(client: flamepy.Connection, server: Server) -> None:
    """Upstream never tries again."""
    register(client, "late", f"{server.url}/p.tar.gz")
    session = session_of(client, "late")
    with expect_refusal(FlameErrorCode.INTERNAL, "the server answered 404"):
        session.run(b"x").result(DEADLINE_S)
    server.answers["/p.tar.gz"] = (200, {}, tar_of(PROJECT))
    session.close()
    session = session_of(client, "late")
    assert report_of(session)["enters"] == 1
    session.close()


def test_an_attempt_that_fails_for_several_executors_is_one_failed_attempt(
    client: flamepy.Connection, server: Server
) -> None:
    """Four executors of a session would have used up all but one of its attempts at once."""
    fails: Iterator[Answer] = iter([(503, {}, b"")] * 2)
    server.answers["/p.tar.gz"] = lambda _: next(fails, (200, {}, tar_of(PROJECT)))
    register(client, "shaky", f"{server.url}/p.tar.gz")
    session = session_of(client, "shaky", instances=4)
    assert report_of(session)["enters"] == 1
    assert [event.code for event in client.get_session(session.id).events] == [1001] * 2
    session.close()


def test_others_go_on_while_something_is_installed(
    own_daemon: Daemon, client: flamepy.Connection, server: Server
) -> None:
    register(client, "hanging", hang(server))
    session = session_of(client, "hanging", instances=2)
    future = session.run(b"x")
    wait_until(lambda: server.requests, "the package is asked for", FAULT_S)
    ping = client.create_session(SessionAttributes("flmping", resreq=LITTLE))
    assert ping.run(b"").result(FAULT_S)
    ping.close()
    assert [executor.state for executor in executors_of(session)] == [1, 1]
    assert len(installers_of(own_daemon)) == 1
    session.close()
    wait_until(lambda: not executors_of(session), "no executor is left", FAULT_S)
    wait_until(lambda: not installers_of(own_daemon), "the installation has been killed", FAULT_S)
    with pytest.raises(flamepy.FlameError):
        future.result(FAULT_S)
    assert not client.get_session(session.id).events
    assert len(server.requests) == 1


def test_who_comes_after_a_killed_installation_gets_one_of_its_own(
    own_daemon: Daemon, client: flamepy.Connection, server: Server
) -> None:
    url = hang(server)
    register(client, "acting", url)
    session = session_of(client, "acting")
    wait_until(lambda: server.requests, "the package is asked for", FAULT_S)
    session.close()
    server.answers["/hang.tar.gz"] = (200, {}, tar_of(PROJECT))
    server.hangs.set()
    session = session_of(client, "acting")
    assert report_of(session)["enters"] == 1
    assert not client.get_session(session.id).events
    session.close()


def test_a_daemon_that_is_stopped_ends_what_it_installs(own_daemon: Daemon, server: Server) -> None:
    with contextlib.closing(own_daemon.connect()) as client:
        register(client, "hanging", hang(server))
        session_of(client, "hanging")
        wait_until(lambda: server.requests, "the package is asked for", FAULT_S)
    own_daemon.signal(signal.SIGTERM)
    own_daemon.process.wait(DEADLINE_S)
    own_daemon.stop()
    own_daemon.place.wait_until_empty(FAULT_S)


def test_an_installer_that_is_killed_is_a_failed_attempt_and_leaves_nothing(
    own_daemon: Daemon, client: flamepy.Connection, server: Server
) -> None:
    register(client, "acting", hang(server))
    session = session_of(client, "acting")
    wait_until(lambda: server.requests, "the package is asked for", FAULT_S)
    server.answers["/hang.tar.gz"] = (200, {}, tar_of(PROJECT))
    for pid in installers_of(own_daemon):
        os.kill(pid, signal.SIGKILL)
    server.hangs.set()
    assert report_of(session)["enters"] == 1
    (event,) = client.get_session(session.id).events
    assert "installation failed: the installer was killed by signal 9" in (event.message or "")
    for folder in ("partial", "scratch"):
        assert os.listdir(own_daemon.place.home / ".cache/hearth" / folder) == []
    session.close()


def test_a_new_daemon_finds_what_an_earlier_one_installed(place: Place, package: Path) -> None:
    folders = []
    for _ in range(2):
        daemon = Daemon(place)
        with contextlib.closing(daemon.connect()) as client:
            register(client, "acting", package.as_uri())
            session = session_of(client, "acting")
            folders.append(report_of(session)["environment"]["FLAME_APP_DIR"])
            installed = os.stat(folders[-1]).st_ctime_ns
            session.close()
            client.unregister_application("acting")
        daemon.stop()
    assert folders[0] == folders[1]
    assert os.stat(folders[0]).st_ctime_ns == installed
