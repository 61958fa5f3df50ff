# SPDX-License-Identifier: Apache-2.0
"""What the tests of the SDK share: real daemons in private folders, and a service that does what it is told."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil
import pytest

import flamepy
from flamepy.protocol import ExecutorInfo, ExecutorList

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

DEADLINE_S = 30.0
"""For what must happen at all, on a machine that may be busy."""
FAULT_S = 5.0
"""For what must be told soon: a fault that takes longer might as well hang."""
NOTHING = flamepy.ResourceRequirement()
"""Needs no room: as many executors as max_instances, whatever the machine has."""

SERVICES = Path(__file__).parent / "services"
SOURCE = Path(flamepy.__file__).parents[1]


def wait_until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    """Look until the condition holds; fails the test with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain until {what}")
        time.sleep(0.002)


def act(verb: str, *arguments: object) -> bytes:
    """A task of the actor."""
    return json.dumps([verb, *arguments]).encode()


@contextlib.contextmanager
def expect_refusal(code: flamepy.FlameErrorCode, *texts: str) -> Iterator[None]:
    """What happens inside ends in a FlameError of that code, with all of these in its message."""
    with pytest.raises(flamepy.FlameError) as refusal:
        yield
    assert refusal.value.code is code, refusal.value
    for text in texts:
        assert text in refusal.value.message


class Place:
    """A private folder, and the processes that were started with it in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()

    def environment(self, **extra: str) -> dict[str, str]:
        """For a child process: this very source, nothing configured, everything private."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLAME_", "FLUX_"))}
        return kept | {
            "PYTHONPATH": str(SOURCE),
            "PYTHONWARNINGS": "error",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.folder),
            "FLAME_RECONNECT_TIMEOUT": "0",  # what is gone is gone, unless a test says otherwise
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            **extra,
        }

    def processes(self) -> list[psutil.Process]:
        """Those alive."""
        mine = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("XDG_RUNTIME_DIR") == str(self.folder):
                    mine.append(process)
        return mine

    def wait_until_empty(self, seconds: float = DEADLINE_S) -> None:
        """No process is left; one that has nobody to end it is ended, and the test fails."""
        try:
            wait_until(lambda: not self.processes(), f"no process of {self.folder} is left", seconds)
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()


@contextlib.contextmanager
def new_place() -> Iterator[Place]:
    # Not tmp_path: a socket's path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="hearth-test-"))
    try:
        place = Place(folder)
        yield place
        place.wait_until_empty()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Gate:
    """Where the actor's task `gate.task` stops until the test opens it."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._path = folder / name
        self.task = act("wait", str(self._path))

    def wait_until_reached(self) -> int:
        """The pid of the service that stands there."""
        reached = Path(f"{self._path}.reached")
        wait_until(lambda: reached.exists() and reached.read_text(), f"a task reaches {self._path.name}", FAULT_S)
        return int(reached.read_text())

    def open(self) -> None:
        Path(f"{self._path}.open").touch()


class Daemon:
    """A `hearth up` process of our own. It runs no components, unless the environment says otherwise.

    options: more of its command line; environment: of its environment.
    """

    def __init__(self, place: Place, *options: str, **environment: str) -> None:
        self.place = place
        self.rundir = place.folder / "run"
        self.statedir = place.folder / "state"
        self._log = place.folder / "log"
        self._options = options
        self._environment = environment
        self.start()

    def start(self) -> None:
        """Also again, after its end: it is the same instance then."""
        self.launch()
        self.uri = self._read_uri()

    def launch(self) -> None:
        """Start it and do not wait for it."""
        folders = ["--rundir", str(self.rundir), "--statedir", str(self.statedir)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hearth", "up", *folders, *self._options],
                env=self.place.environment(**{"HEARTH_SHIMS": "host", **self._environment}),
                cwd=self.place.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def abandon(self) -> None:
        """Kill one that was launched, without having waited for it."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.kill()

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()

    def _read_uri(self) -> str:
        stdout = self.process.stdout
        assert stdout is not None
        with stdout:
            ready, _, _ = select.select([stdout], [], [], DEADLINE_S)
            line = stdout.readline().decode() if ready else ""
        assert line.startswith("ready "), self.log()
        return line.split()[1]

    def log(self) -> str:
        return self._log.read_text()

    def connect(self, reconnect_timeout: float = 0) -> flamepy.Connection:
        return flamepy.connect(self.uri, reconnect_timeout=reconnect_timeout)

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def stop(self) -> None:
        """End it as an operator would; it must end well, and with it everything it started."""
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(DEADLINE_S) == 0, self.log()
            _, bug, told = self.log().partition("Traceback")
            assert not bug, told[:4000]


def register_actor(connection: flamepy.Connection, name: str = "actor", **attributes: object) -> str:
    """Make the actor an application, the way a user does with a script of his own."""
    connection.register_application(
        name,
        {
            "command": "python3",
            "arguments": ["actor.py"],
            "working_directory": str(SERVICES),
            "environments": {"PYTHONPATH": str(SOURCE)},
            "installer": "python",
            **attributes,
        },
    )
    return name


def actor_session(
    connection: flamepy.Connection, common_data: bytes | None = None, *, instances: int = 1
) -> flamepy.Session:
    """A session of the actor with so many executors, whatever the machine has."""
    return connection.create_session(
        flamepy.SessionAttributes("actor", common_data=common_data, max_instances=instances, resreq=NOTHING)
    )


def has_closed(session: flamepy.Session) -> bool:
    """Close it, unless a task is running."""
    try:
        session.close()
    except flamepy.FlameError as error:
        if error.code is flamepy.FlameErrorCode.INVALID_STATE:
            return False
        raise
    return True


def executors_of(session: flamepy.Session) -> list[ExecutorInfo]:
    """The session's executors as the instance sees them."""
    listed = session.connection.link.ask("flame.executor.list", None, ExecutorList)
    return [executor for executor in listed.executors if executor.session == session.id]


@pytest.fixture
def place() -> Iterator[Place]:
    """A private folder with a home in it, and a check that nothing started there stays."""
    with new_place() as place:
        yield place


@pytest.fixture(scope="session")
def shared_daemon() -> Iterator[Daemon]:
    """For tests that leave it as it was."""
    with new_place() as place:
        daemon = Daemon(place)
        with contextlib.closing(daemon.connect()) as connection:
            register_actor(connection)
        yield daemon
        daemon.stop()


@pytest.fixture
def client(shared_daemon: Daemon) -> Iterator[flamepy.Connection]:
    """A connection to the shared daemon, where the actor is registered."""
    with contextlib.closing(shared_daemon.connect()) as connection:
        yield connection


class NewSession(Protocol):
    """Makes sessions of the actor, closed when the test is over."""

    def __call__(self, common_data: bytes | None = None, *, instances: int = 1) -> flamepy.Session: ...


@pytest.fixture
def new_session(client: flamepy.Connection) -> Iterator[NewSession]:
    """Makes sessions of the actor, with one executor at most unless asked otherwise."""
    made: list[flamepy.Session] = []

    def new(common_data: bytes | None = None, *, instances: int = 1) -> flamepy.Session:
        made.append(actor_session(client, common_data, instances=instances))
        return made[-1]

    yield new
    for session in made:
        wait_until(functools.partial(has_closed, session), f"{session} can be closed")


@pytest.fixture
def session(new_session: NewSession) -> flamepy.Session:
    """A session of the actor with one executor at most."""
    return new_session()


@pytest.fixture
def own_daemon(place: Place) -> Iterator[Daemon]:
    """For tests that hurt it."""
    daemon = Daemon(place)
    yield daemon
    daemon.stop()


@pytest.fixture
def own_client(own_daemon: Daemon) -> Iterator[flamepy.Connection]:
    """A connection to the daemon that may be hurt; the actor is registered there."""
    with contextlib.closing(own_daemon.connect()) as connection:
        register_actor(connection)
        yield connection


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Open at the latest when the test is over."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()
