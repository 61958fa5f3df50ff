"""One peer does its worst: others are served as before, memory stays within the bounds of docs/protocol.md."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from flux import packet as wire
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGTYPE_CONTROL, FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE
from flux.packet import Packet
from tests.hearth.broker.daemon import WAIT_S, RawClient, running_daemon, wait_until
from tests.hearth.broker.wire import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hearth.broker.daemon import Daemon

MIB = 1 << 20
MAGIC = bytes.fromhex("1200eeff")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """One for each test: its memory is measured."""
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture
def witness(daemon: Daemon) -> Iterator[RawClient]:
    """Somebody else, who must be served before and after."""
    with daemon.connect() as client:
        assert client.is_served()
        yield client
        assert client.is_served()


@contextlib.contextmanager
def growing_by_at_most(daemon: Daemon, most_mib: int) -> Iterator[None]:
    before = daemon.peak_bytes
    yield
    grown = (daemon.peak_bytes - before) // MIB
    assert grown <= most_mib, f"the daemon grew by {grown} MiB"


def slowest_answer_s(witness: RawClient, count: int = 50) -> float:
    """The second longest of some pings: one may meet a busy machine."""
    took = []
    for _ in range(count):
        before = time.monotonic()
        assert witness.is_served()
        took.append(time.monotonic() - before)
    return sorted(took)[-2]


def test_a_message_of_millions_of_frames_cuts_its_sender_at_once(daemon: Daemon, witness: RawClient) -> None:
    proto = struct.pack(">BBBBIIII", 0x8E, 1, 1, 9, 0xFFFFFFFF, 0, 0xFFFFFFFF, 1)
    for frames in (b"\0" * 10_000_000, b"\x01r" * 5_000_000 + b"\0\x03a.b"):
        body = frames + b"\x14" + proto
        with growing_by_at_most(daemon, 3 * len(body) // MIB + 16), daemon.connect() as client:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.socket.sendall(MAGIC + struct.pack(">I", len(body)) + body)
            assert client.is_cut()
    assert slowest_answer_s(witness) < 0.5


def test_what_is_no_use_is_ignored_however_much_comes(daemon: Daemon, witness: RawClient) -> None:
    """Control messages, messages without a topic, answers that nobody asked for."""
    useless = [
        Packet(FLUX_MSGTYPE_CONTROL, 0, 0xFFFFFFFF, 0, 1, 2),
        Packet(FLUX_MSGTYPE_REQUEST, 0, 0xFFFFFFFF, 0, 0xFFFFFFFF, 1, []),
        Packet(FLUX_MSGTYPE_RESPONSE, 0, 0xFFFFFFFF, 0, 0, 1, ["made-up", "x" * 3000], "a.b"),
        Packet(FLUX_MSGTYPE_RESPONSE, 0, 0xFFFFFFFF, 0, 0, 1, [], "a.b"),
        Packet(FLUX_MSGTYPE_RESPONSE, 0, 0xFFFFFFFF, 0, 0, 1, None, "a.b"),
    ]
    data = b"".join(map(wire.encode, useless)) * 20
    with growing_by_at_most(daemon, 16), daemon.connect() as client:
        for _ in range(500):
            client.socket.sendall(data)
        assert client.is_served()


def test_an_answer_goes_to_who_is_named_and_changes_nothing_for_others(daemon: Daemon, witness: RawClient) -> None:
    with daemon.connect() as client:
        client.say(Packet(FLUX_MSGTYPE_RESPONSE, 0, 0xFFFFFFFF, 0, 0, 77, ["nobody"], "broker.ping"))
        assert client.is_served()
    witness.say(ask("broker.ping", {}, 77))
    assert witness.hear().aux2 == 77


def test_events_with_huge_topics_cost_what_they_weigh(daemon: Daemon, witness: RawClient) -> None:
    assert witness.ask("event.subscribe", {"topic": "small"}).aux1 == 0
    with growing_by_at_most(daemon, 6 * 8 + 16), daemon.connect() as client:
        for _ in range(10):
            client.say(wire.event("x" * 8 * MIB))
        assert client.is_served()
    with daemon.connect() as client:
        client.say(wire.event("small"))
        assert witness.hear().topic == "small"


def test_a_hundred_thousand_subscriptions_are_not_taken_and_events_go_on(daemon: Daemon, witness: RawClient) -> None:
    assert witness.ask("event.subscribe", {"topic": "real"}).aux1 == 0
    with growing_by_at_most(daemon, 32), daemon.connect() as client:
        for first in range(0, 100_000, 1000):
            client.say(
                *(ask("event.subscribe", {"topic": f"{number}." + "x" * 200}) for number in range(first, first + 1000))
            )
            errors = {client.hear().aux1 for _ in range(1000)}
        assert errors == {errno.ENOSPC}
        before = time.monotonic()
        for number in range(500):
            witness.say(wire.event(f"real.{number}"))
            assert witness.hear().topic == f"real.{number}"
        assert time.monotonic() - before < 5.0
        assert slowest_answer_s(witness) < 0.5


def test_a_hundred_thousand_owed_notices_are_bounded_and_given_quickly(daemon: Daemon, witness: RawClient) -> None:
    with daemon.connect() as service:
        assert service.ask("service.add", {"service": "svc"}).aux1 == 0
        with growing_by_at_most(daemon, 48), daemon.connect() as client:
            for first in range(0, 100_000, 1000):
                client.say(*(ask(f"svc.{number}.{'y' * 150}.x") for number in range(first, first + 1000)))
                for _ in range(1000):
                    service.hear()
        for _ in range(4096):
            notice = service.hear()
            assert notice.flags & FLUX_MSGFLAG_NORESPONSE
            assert (notice.topic or "").endswith(".disconnect")
        witness.say(ask("svc.last"))
        assert service.hear().topic == "svc.last", "there were more notices"
    assert slowest_answer_s(witness) < 0.5


def test_who_never_stops_asking_leaves_the_others_their_turn(daemon: Daemon, witness: RawClient) -> None:
    """Measured while the flood goes on: 0.5 s and more, and the longer the worse, when its turns were not bounded."""
    flood = wire.encode(ask("broker.ping", b"", flags=FLUX_MSGFLAG_NORESPONSE)) * 2000
    is_on, is_over = threading.Event(), threading.Event()
    with daemon.connect() as client, ThreadPoolExecutor() as pool:
        flooding = pool.submit(flood_with, flood, client, is_on, is_over)
        try:
            assert is_on.wait(WAIT_S)
            assert slowest_answer_s(witness) < 0.2
        finally:
            is_over.set()
        flooding.result()


def flood_with(data: bytes, client: RawClient, is_on: threading.Event, is_over: threading.Event) -> None:
    """Say it until it is over; it is on when it has been said a hundred times."""
    said = 0
    while not is_over.is_set():
        client.socket.sendall(data)
        said += 1
        if said == 100:
            is_on.set()


def test_who_reads_a_byte_at_a_time_is_served_at_its_pace_and_others_at_theirs(
    daemon: Daemon, witness: RawClient
) -> None:
    with daemon.connect() as client:
        client.say(*(ask("broker.ping", {"pad": "x" * 100}, tag) for tag in range(1, 101)))
        for _ in range(2000):
            assert client.socket.recv(1)
        assert slowest_answer_s(witness) < 0.5


def test_who_comes_and_goes_all_the_time_leaves_nothing(daemon: Daemon, witness: RawClient) -> None:
    for _ in range(20):  # warm
        daemon.connect().socket.close()
    with growing_by_at_most(daemon, 16):
        for _ in range(3000):
            with daemon.connect() as client:
                client.say(ask("event.subscribe", {"topic": "x"}), ask("ghost.x"))
    wait_until(lambda: daemon.connections(witness) == 1)


def test_each_that_is_cut_has_its_line_with_who_and_why(daemon: Daemon, witness: RawClient) -> None:
    with daemon.connect() as client:
        client.socket.sendall(bytes(100))
        assert client.is_cut()
    (line,) = [line for line in daemon.log.splitlines() if " closed: " in line]
    assert f"pid {os.getpid()}, uid {os.getuid()}" in line
    assert "stream magic" in line
