"""A real daemon process, and raw sockets to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flux import packet as wire
from flux.constants import FLUX_MSGTYPE_RESPONSE
from flux.packet import Decoder, Packet
from tests.hearth.broker.wire import ask, json_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

WAIT_S = 20.0
"""No wait of a test is longer; a loaded machine needs a good part of it."""


GUEST = 65534
"""A uid that is not the owner's, and the one in the recorded dialogues."""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: only root can start clients with another uid")

CONNECT_AND_HAND_OVER = """
import os, socket, sys
userid = int(sys.argv[4])  # taken on only here: it need not be able to start this Python
os.setgroups([])
os.setresgid(userid, userid, userid)
os.setresuid(userid, userid, userid)
with socket.socket(fileno=int(sys.argv[2])) as channel:
    for _ in range(int(sys.argv[3])):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(sys.argv[1])
            socket.send_fds(channel, [b"x"], [connection.fileno()])
"""


def sockets_of(userid: int, path: Path, count: int = 1) -> list[socket.socket]:
    """Connected by a process of that user, which hands them to us: the kernel goes on naming the user."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-I", "-S", "-c", CONNECT_AND_HAND_OVER]
        command += [str(path), str(theirs.fileno()), str(count), str(userid)]
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        found: list[socket.socket] = []
        while len(found) < count:
            data, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
            assert data, f"uid {userid} could not connect to {path}"
            found.append(socket.socket(fileno=descriptors[0]))
        assert child.wait(WAIT_S) == 0
        return found


def connected_to(path: Path) -> socket.socket:
    """A connection of our own."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


class RawClient:
    """A connected socket, with or without its handshake done."""

    def __init__(self, connection: socket.socket, *, handshake: bool = True) -> None:
        self.socket = connection
        self.socket.settimeout(WAIT_S)
        self._decoder = Decoder()
        self._got: list[Packet] = []
        try:
            if handshake:
                assert self.socket.recv(1) == b"\0"
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def say(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(map(wire.encode, packets)))

    def hear(self) -> Packet:
        """The next message. Fails when the connection ends."""
        while not self._got:
            data = self.socket.recv(1 << 20)
            assert data, "the daemon hung up"
            self._got += self._decoder.feed(data)
        return self._got.pop(0)

    def ask(self, topic: str, payload: object = None, **fields: Any) -> Packet:
        """Ask, and take the answer; what comes before it is thrown away."""
        self.say(ask(topic, payload, **fields))
        while (answer := self.hear()).type != FLUX_MSGTYPE_RESPONSE:
            pass
        return answer

    def is_served(self) -> bool:
        return self.ask("broker.ping", {"seq": 1}).aux1 == 0

    def is_cut(self) -> bool:
        """Read until the daemon hangs up; fails when it does not."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(1 << 20):
                pass
        return True


class Daemon:
    """``hearth up`` in a folder of its own.

    most_files: its limit of open files. configuration: what its file says, which others may enter the folder for.
    """

    def __init__(self, most_files: int | None = None, configuration: str | None = None) -> None:
        self.rundir = Path(tempfile.mkdtemp(prefix="hearth-"))
        self.configuration = self.rundir / "hearth.toml"
        self.path = self.rundir / "local-0"
        self._log_path = self.rundir / "log"
        command = [sys.executable, "-m", "hearth", "up", "--rundir", str(self.rundir)]
        if configuration is not None:
            self.rundir.chmod(0o711)
            self.configuration.write_text(configuration)
            command += ["--config", str(self.configuration)]
        if most_files is not None:
            command = ["sh", "-c", f'ulimit -n {most_files}; exec "$0" "$@"', *command]
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()  # ends also when the process does; the test's time limit watches
        if ready != f"ready local://{self.path}\n".encode():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT_S)  # it says why behind the end of its stdout
            log_text = self.log
            self._clean_up()
            raise AssertionError(f"the daemon did not start: {log_text}")

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def peak_bytes(self) -> int:
        """The most memory that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) << 10

    def connect(self, *, handshake: bool = True, userid: int | None = None) -> RawClient:
        """A client of ours, or of another user."""
        connection = connected_to(self.path) if userid is None else sockets_of(userid, self.path)[0]
        return RawClient(connection, handshake=handshake)

    def connections(self, client: RawClient) -> int:
        answer = client.ask("flame.status")
        assert answer.aux1 == 0
        found = json_of(answer)["connections"]
        assert isinstance(found, int)
        return found

    def stop(self) -> None:
        """End it the proper way, and look that nothing went wrong or is left."""
        try:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(WAIT_S) == 0, self.log
            assert "Traceback" not in self.log, self.log
            assert not self.path.exists()
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        shutil.rmtree(self.rundir)


@contextlib.contextmanager
def running_daemon(most_files: int | None = None, configuration: str | None = None) -> Iterator[Daemon]:
    daemon = Daemon(most_files, configuration)
    try:
        yield daemon
    finally:
        daemon.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again and again, each time with a round trip to the daemon, until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"does not come true within {WAIT_S} s"
