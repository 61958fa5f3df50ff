from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import flux
from flux import packet as wire
from flux.packet import Decoder, Packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Peer:
    """The far end of a handle's connection, played by the test over a real socket."""

    def __init__(self, path: Path) -> None:
        self.uri = f"local://{path}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._stream = socket.socket()
        self._decoder = Decoder()
        self._read: list[Packet] = []

    def welcome(self, greeting: bytes = b"\0") -> None:
        """Accept the next connection; from another thread, since the one who connects waits for it."""
        self._stream.close()
        self._stream, _ = self._listener.accept()
        self._stream.sendall(greeting)

    def connect(self, flags: int = 0) -> flux.Flux:
        """A handle connected to us."""
        welcome = threading.Thread(target=self.welcome)
        welcome.start()
        try:
            return flux.Flux(self.uri, flags)
        finally:
            welcome.join()

    def send(self, *packets: Packet) -> None:
        self.send_bytes(b"".join(map(wire.encode, packets)))

    def send_bytes(self, data: bytes) -> None:
        self._stream.sendall(data)

    def read(self) -> Packet:
        """The next message the handle sent."""
        while not self._read:
            data = self._stream.recv(1 << 16)
            assert data, "the handle hung up"
            self._read += self._decoder.feed(data)
        return self._read.pop(0)

    def read_frame(self) -> bytes:
        """The bytes of the next message the handle sent; not to be mixed with `read`."""
        header = self._read_exactly(wire.HEADER_SIZE)
        return header + self._read_exactly(int.from_bytes(header[4:], "big"))

    def _read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._stream.recv(size - len(data))
            assert part, "the handle hung up"
            data += part
        return data

    def has_been_sent_nothing(self) -> bool:
        return not self._read and not select.select([self._stream], [], [], 0)[0]

    def is_hung_up_on(self) -> bool:
        """Waits for the handle to hang up."""
        return self._stream.recv(1) == b""

    def answer(self, asked: Packet, payload: bytes | None = None, errnum: int = 0) -> None:
        self.send(wire.response_to(asked, payload, errnum))

    def hang_up(self) -> None:
        self._stream.close()

    def close(self) -> None:
        self._stream.close()
        self._listener.close()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    far_end = Peer(tmp_path / "peer")
    yield far_end
    far_end.close()


@pytest.fixture
def handle(peer: Peer) -> Iterator[flux.Flux]:
    """A handle whose far end is `peer`."""
    with peer.connect() as connected:
        yield connected


@contextlib.contextmanager
def running_broker(rundir: Path) -> Iterator[str]:
    """A real broker in a process of its own; its URI."""
    command = [sys.executable, "-m", "hearth", "up", "--rundir", str(rundir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            word, _, uri = process.stdout.readline().strip().partition(" ")
            assert word == "ready", "the broker did not start"
            yield uri
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture
def live(broker: str) -> Iterator[flux.Flux]:
    """A handle on a real broker."""
    with flux.Flux(broker) as connected:
        yield connected


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a broker that the tests share."""
    with running_broker(tmp_path_factory.mktemp("broker")) as uri:
        yield uri
