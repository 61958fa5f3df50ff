"""A real daemon and peers of every kind: hostile, slow, hasty, many."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from flux import packet as wire
from flux.constants import FLUX_MSGTYPE_EVENT
from tests.hearth.broker.daemon import Daemon, RawClient, running_daemon, wait_until
from tests.hearth.broker.wire import ask, json_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = bytes.fromhex("1200eeff")
PING = wire.encode(ask("broker.ping", {"seq": 1}))
MIB = 1 << 20


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture
def witness(daemon: Daemon) -> Iterator[RawClient]:
    """A client that is there all the time, alone at first, and must be served before and after."""
    with daemon.connect() as client:
        wait_until(lambda: daemon.connections(client) == 1)
        yield client
        assert client.is_served()


def test_the_daemon_says_one_zero_byte_and_waits(daemon: Daemon) -> None:
    with daemon.connect(handshake=False) as client:
        assert client.socket.recv(100) == b"\0"
        assert client.is_served()


def test_a_client_need_not_wait_for_the_handshake(daemon: Daemon) -> None:
    with daemon.connect(handshake=False) as client:
        client.socket.sendall(PING)
        assert client.socket.recv(1) == b"\0"
        assert client.hear().topic == "broker.ping"


# -- hostile


def body(
    *, proto: bytes = bytes.fromhex("8e010101 ffffffff 00000000 ffffffff 00000001"), frames: bytes = b"\3a.b"
) -> bytes:
    data = frames + b"\x14" + proto
    return MAGIC + struct.pack(">I", len(data)) + data


NONSENSE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "big-endian magic": b"\xff\xee\x00\x12" + PING[4:],
    "zeros": bytes(1000),
    "noise": random.Random(1).randbytes(10_000),
    "length of 4 GiB": MAGIC + b"\xff\xff\xff\xff" + b"x" * 100,
    "length over 1 GiB": MAGIC + struct.pack(">I", (1 << 30) + 1),
    "length zero": MAGIC + bytes(4) + PING,
    "length one": MAGIC + struct.pack(">I", 1) + b"\0",
    "frame beyond the body": body(frames=b"\xfe"),
    "long frame beyond the body": body(frames=b"\xff\xff\xff\xff\xff"),
    "wrong PROTO magic": body(proto=bytes(20)),
    "wrong PROTO version": body(proto=bytes.fromhex("8e020101 ffffffff 00000000 ffffffff 00000001")),
    "unknown type": body(proto=bytes.fromhex("8e010301 ffffffff 00000000 ffffffff 00000001")),
    "routes without an end": body(proto=bytes.fromhex("8e010109 ffffffff 00000000 ffffffff 00000001")),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_who_sends_nonsense_is_cut_and_logged_and_nobody_else_notices(
    daemon: Daemon, witness: RawClient, nonsense: bytes
) -> None:
    before = daemon.log.count(" closed: ")
    with daemon.connect() as client:
        with contextlib.suppress(BrokenPipeError):
            client.socket.sendall(nonsense)
        assert client.is_cut()
    assert daemon.log.count(" closed: ") == before + 1


def test_what_came_whole_before_the_nonsense_is_answered_or_published(daemon: Daemon, witness: RawClient) -> None:
    assert witness.ask("event.subscribe", {"topic": "last.words"}).aux1 == 0
    with daemon.connect() as client:
        client.socket.sendall(wire.encode(wire.event("last.words")) + bytes(8))
        assert witness.hear().topic == "last.words"
        assert client.is_cut()


@pytest.mark.parametrize("cut_at", [1, 4, 7, 8, 9, 20, len(PING) - 1])
def test_who_sends_half_a_message_and_hangs_up_is_forgotten(daemon: Daemon, witness: RawClient, cut_at: int) -> None:
    with daemon.connect() as client:
        client.socket.sendall(PING[:cut_at])
    wait_until(lambda: daemon.connections(witness) == 1)


def test_a_message_may_come_byte_by_byte(daemon: Daemon) -> None:
    with daemon.connect() as client:
        for byte in PING:
            client.socket.sendall(bytes([byte]))
        assert client.hear().topic == "broker.ping"


def test_one_corrupt_byte_cuts_its_sender_at_most(daemon: Daemon, witness: RawClient) -> None:
    for at in range(len(PING)):
        for bit in (1, 0x80):
            corrupt = bytearray(PING)
            corrupt[at] ^= bit
            with daemon.connect() as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.socket.sendall(bytes(corrupt))
                client.socket.shutdown(socket.SHUT_WR)
                assert client.is_cut()
        assert witness.is_served(), f"byte {at}"


def test_a_topic_that_is_not_utf_8_is_answered(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.say(ask("\udcff\udcfe.x", {}, 1), ask("broker.ping", {}, 2))
        assert [client.hear().aux2, client.hear().aux2] == [1, 2]


# -- large, hasty, many


def test_a_message_of_twenty_megabytes_goes_there_and_back(daemon: Daemon, witness: RawClient) -> None:
    pad = "x" * 20_000_000
    with daemon.connect() as client:
        assert json_of(client.ask("broker.ping", {"pad": pad}))["pad"] == pad


def test_what_was_sent_before_a_hang_up_counts_although_answers_are_stuck(daemon: Daemon, witness: RawClient) -> None:
    assert witness.ask("event.subscribe", {"topic": "stuck"}).aux1 == 0
    with daemon.connect() as client:
        client.say(ask("broker.ping", {"pad": "x" * 20_000_000}))
        client.socket.recv(1, socket.MSG_PEEK)  # the answer has begun to come, more than we are owed at once
        client.say(wire.event("stuck"))
    assert witness.hear().topic == "stuck"


@pytest.mark.parametrize("handshake", [True, False])
def test_an_event_is_published_although_its_sender_is_gone(daemon: Daemon, witness: RawClient, handshake: bool) -> None:
    assert witness.ask("event.subscribe", {"topic": "hasty"}).aux1 == 0
    for number in range(50):
        with daemon.connect(handshake=handshake) as client:
            client.say(wire.event(f"hasty.{number}"))
        heard = witness.hear()
        assert (heard.type, heard.topic) == (FLUX_MSGTYPE_EVENT, f"hasty.{number}")


def test_many_events_are_published_although_their_sender_is_gone(daemon: Daemon, witness: RawClient) -> None:
    assert witness.ask("event.subscribe", {"topic": "many"}).aux1 == 0
    with daemon.connect() as client:
        client.say(*[wire.event("many", bytes(1000)) for _ in range(2000)])
    sequences = [witness.hear().aux1 for _ in range(2000)]
    assert sequences == list(range(sequences[0], sequences[0] + 2000))


def test_two_hundred_clients_are_served_at_once(daemon: Daemon, witness: RawClient) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect(handshake=False)) for _ in range(200)]
        for number, client in enumerate(clients):
            client.say(ask("broker.ping", {"n": number}))
        for number, client in enumerate(clients):
            assert client.socket.recv(1) == b"\0"
            assert json_of(client.hear())["n"] == number
        assert daemon.connections(witness) == 201
    wait_until(lambda: daemon.connections(witness) == 1)


def test_the_service_of_a_client_that_is_gone_is_not_there(daemon: Daemon, witness: RawClient) -> None:
    with daemon.connect() as owner:
        assert owner.ask("service.add", {"service": "brief"}).aux1 == 0
        witness.say(ask("brief.x"))
        assert owner.hear().topic == "brief.x"
    wait_until(lambda: daemon.connections(witness) == 1)
    assert witness.ask("brief.x").aux1 == errno.ENOSYS


def test_a_client_that_serves_is_told_of_the_end_of_one_that_asked(daemon: Daemon, witness: RawClient) -> None:
    assert witness.ask("service.add", {"service": "told"}).aux1 == 0
    with daemon.connect() as client:
        client.say(ask("ghost.x"), ask("told.x"))
        asked = witness.hear()
    notice = witness.hear()
    assert (notice.topic, notice.routes) == ("told.disconnect", asked.routes)
    assert witness.ask("service.remove", {"service": "told"}).aux1 == 0


# -- at the limits


def test_who_never_reads_is_cut_and_memory_stays_bounded() -> None:
    with running_daemon() as daemon, daemon.connect() as sleeper, daemon.connect() as other:
        assert sleeper.ask("event.subscribe", {"topic": "flood"}).aux1 == 0
        assert other.is_served()
        before = daemon.peak_bytes
        chunk = b"".join(wire.encode(wire.event("flood", bytes(64 << 10))) for _ in range(16))
        for _ in range(100):  # 100 MiB
            other.socket.sendall(chunk)
            assert other.is_served()
        assert "does not read" in daemon.log
        assert sleeper.is_cut()
        assert daemon.connections(other) == 1
        grown = (daemon.peak_bytes - before) // MIB
        assert grown < 64 + 32, f"the hard mark is 64 MiB, the daemon grew by {grown} MiB"


def test_who_reads_slowly_but_reads_loses_nothing() -> None:
    with running_daemon() as daemon, daemon.connect() as slow, daemon.connect() as other:
        assert slow.ask("event.subscribe", {"topic": "flood"}).aux1 == 0
        for _ in range(20):
            other.say(*[wire.event("flood", bytes(64 << 10)) for _ in range(16)])
        assert other.is_served()
        assert [slow.hear().aux1 for _ in range(320)] == list(range(1, 321))
        assert slow.is_served()


def test_who_floods_a_service_that_does_not_read_is_slowed_down_and_nobody_is_cut() -> None:
    with (
        running_daemon() as daemon,
        daemon.connect() as service,
        daemon.connect() as flooder,
        daemon.connect() as other,
    ):
        assert service.ask("service.add", {"service": "slow"}).aux1 == 0
        before = daemon.peak_bytes
        flooder.socket.settimeout(0.5)  # how long nothing may move before we take it for standing still
        sent = 0
        message = memoryview(wire.encode(ask("slow.x", bytes(MIB))))
        with contextlib.suppress(TimeoutError):
            while sent < 200:
                flooder.socket.sendall(message)
                sent += 1
        assert sent < 40, "it was not slowed down"
        assert (daemon.peak_bytes - before) // MIB < 64
        assert other.is_served()
        for _ in range(sent):
            assert service.hear().topic == "slow.x"
        assert "cut off" not in daemon.log


def test_who_asks_without_reading_the_answers_is_slowed_down_and_loses_none() -> None:
    with running_daemon() as daemon, daemon.connect() as flooder, daemon.connect() as other:
        before = daemon.peak_bytes
        flooder.socket.settimeout(0.5)  # how long nothing may move before we take it for standing still
        data = b"".join(wire.encode(ask("broker.ping", {"pad": "x" * 100_000}, tag)) for tag in range(1, 1001))
        sent = 0
        with contextlib.suppress(BlockingIOError, TimeoutError):
            while sent < len(data):
                sent += flooder.socket.send(data[sent : sent + (64 << 10)])
        assert sent < len(data) // 2, "it was not slowed down"
        assert other.is_served()
        assert (daemon.peak_bytes - before) // MIB < 64
        whole = sent * 1000 // len(data) - 1
        assert [flooder.hear().aux2 for _ in range(whole)] == list(range(1, whole + 1))


def test_who_writes_everything_before_it_reads_anything_gets_every_answer() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        client.socket.settimeout(30)
        for tag in range(1, 151):  # 15 MB: twice the soft mark, with what the socket buffers hold
            client.socket.sendall(wire.encode(ask("broker.ping", {"pad": "x" * 100_000}, tag)))
        assert [client.hear().aux2 for _ in range(150)] == list(range(1, 151))


def test_two_that_ask_each_other_much_before_they_read_get_every_request() -> None:
    with running_daemon() as daemon, daemon.connect() as one, daemon.connect() as two:
        assert one.ask("service.add", {"service": "one"}).aux1 == 0
        assert two.ask("service.add", {"service": "two"}).aux1 == 0
        with ThreadPoolExecutor() as pool:
            heard = [pool.submit(write_then_read, one, "two.x"), pool.submit(write_then_read, two, "one.x")]
            assert [each.result() for each in heard] == [{"one.x"}, {"two.x"}]


def write_then_read(client: RawClient, topic: str) -> set[str | None]:
    message = wire.encode(ask(topic, bytes(MIB)))
    for _ in range(20):  # twice the soft mark, with what the socket buffers hold
        client.socket.sendall(message)
    return {client.hear().topic for _ in range(20)}


def test_a_daemon_without_free_file_descriptors_serves_who_is_there_and_recovers() -> None:
    with running_daemon(most_files=64) as daemon, contextlib.ExitStack() as stack:
        first = [stack.enter_context(daemon.connect()) for _ in range(20)]
        rest = [stack.enter_context(daemon.connect(handshake=False)) for _ in range(80)]
        wait_until(lambda: first[0].is_served() and "cannot accept a connection" in daemon.log)
        assert all(client.is_served() for client in first)
        rest[-1].socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            rest[-1].socket.recv(1)
        for client in rest[:60]:
            client.socket.close()
        for client in rest[60:]:
            client.socket.setblocking(True)
            assert client.socket.recv(1) == b"\0"
            assert client.is_served()
        assert first[0].is_served()


def test_a_second_daemon_leaves_the_folder_of_the_first_alone(daemon: Daemon, witness: RawClient) -> None:
    command = [sys.executable, "-m", "hearth", "up", "--rundir", str(daemon.rundir)]
    second = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert second.returncode == 1
    assert b"already" in second.stderr
    with daemon.connect() as client:
        assert client.is_served()
