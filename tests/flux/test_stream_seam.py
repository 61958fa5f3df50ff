"""A transport whose stream is no bare socket: bytes are encoded in units, as TLS does, and the handle cannot tell."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

import flux
from flux import connector
from flux.connector import Transport
from flux.errors import named_error
from tests.flux.test_threads import run_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

UNIT = 16 << 10
FLIP = bytes(255 - byte for byte in range(256))


class Sealed:
    """Each unit is its length and its bytes, flipped; what has come of a unit is of no use before the rest."""

    def __init__(self, carrier: socket.socket) -> None:
        self._carrier = carrier
        self._coming = bytearray()
        self._leaving = memoryview(b"")  # of a unit that was encoded and not taken yet
        self._unit = 0

    def fileno(self) -> int:
        return self._carrier.fileno()

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        if not self._leaving:
            unit = bytes(data)[:UNIT]
            self._unit = len(unit)
            self._leaving = memoryview(struct.pack("!I", len(unit)) + unit.translate(FLIP))
        while self._leaving:
            self._leaving = self._leaving[self._carrier.send(self._leaving, flags) :]
        return self._unit

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        while True:
            data = self._carrier.recv(size, flags)
            if not data:
                return b""
            self._coming += data
            units = bytearray()
            while len(self._coming) >= 4 and len(self._coming) >= 4 + (
                length := struct.unpack_from("!I", self._coming)[0]
            ):
                units += self._coming[4 : 4 + length].translate(FLIP)
                del self._coming[: 4 + length]
            if units:
                return bytes(units)
            if flags:
                raise named_error(errno.EAGAIN)

    def shutdown(self, how: int, /) -> None:
        self._carrier.shutdown(how)

    def close(self) -> None:
        self._carrier.close()


def relay(sealed: Sealed, plain: socket.socket) -> None:
    """Carry bytes both ways until either end hangs up."""

    def inwards() -> None:
        while data := sealed.recv(1 << 16):
            plain.sendall(data)
        plain.shutdown(socket.SHUT_RDWR)

    reader = threading.Thread(target=inwards)
    reader.start()
    while data := plain.recv(1 << 16):
        while data:
            data = data[sealed.send(data) :]
    reader.join()
    plain.close()
    sealed.close()


@pytest.fixture
def sealed_handle(broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[flux.Flux]:
    """A handle whose way to the broker is sealed."""
    relays: list[threading.Thread] = []

    def open_sealed(path: str, timeout_s: float | None) -> Transport:
        ours, theirs = socket.socketpair()
        plain = connector.connect(f"local://{path}", timeout_s)
        relays.append(threading.Thread(target=relay, args=(Sealed(theirs), plain)))
        relays[-1].start()
        return Transport(Sealed(ours))

    monkeypatch.setitem(connector._SCHEMES, "sealed", open_sealed)
    with flux.Flux(broker.replace("local://", "sealed://")) as handle:
        yield handle
    for thread in relays:
        thread.join(10)
        assert not thread.is_alive()


def test_requests_large_and_small_pass_from_several_threads(sealed_handle: flux.Flux) -> None:
    def call(name: int) -> None:
        for number in range(10):
            text = f"{name}.{number}." + "x" * (300_000 if number % 3 == 0 else 3)
            assert sealed_handle.rpc("broker.ping", {"text": text}).wait_for(30).get()["text"] == text

    call(0)
    run_all(*(lambda name=n: call(name) for n in range(1, 5)))


def test_half_a_unit_does_not_extend_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setitem(connector._SCHEMES, "sealed", lambda _path, _timeout_s: Transport(Sealed(ours)))
    with flux.Flux("sealed://") as handle, theirs:
        rpc = handle.rpc("s.m")
        theirs.send(b"\0\0\1\0half")
        with pytest.raises(TimeoutError):
            rpc.wait_for(0.05)
        with pytest.raises(BlockingIOError):
            handle.recv(flags=4)


def test_the_reactor_calls_back(sealed_handle: flux.Flux) -> None:
    sizes: list[int] = []

    def answered(rpc: flux.rpc.RPC) -> None:
        sizes.append(len(rpc.get()["text"]))

    for size in (1, 100_000, 1_000_000):
        sealed_handle.rpc("broker.ping", {"text": "x" * size}).then(answered)
    assert sealed_handle.reactor_run() == 0
    assert sizes == [1, 100_000, 1_000_000]
