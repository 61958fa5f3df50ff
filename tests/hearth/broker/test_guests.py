"""Guests: let in by the configuration, and what they cannot do then. They are real processes of another uid."""

from __future__ import annotations

import contextlib
import errno
import re
import select
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flux import packet as wire
from flux.constants import FLUX_MSGFLAG_PRIVATE, FLUX_MSGFLAG_STREAMING, FLUX_MSGTYPE_RESPONSE, FLUX_ROLE_ALL
from flux.packet import Packet
from hearth.broker.connection import GUEST_HARD_MARK_BYTES
from hearth.broker.server import GUEST_CONNECTIONS_MAX, GUEST_MESSAGE_MAX_BYTES
from tests.hearth.broker.daemon import GUEST, Daemon, RawClient, needs_root, running_daemon, sockets_of, wait_until
from tests.hearth.broker.wire import ask, json_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_root

OTHER_GUEST = 65533
PROTOCOL = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
OPEN = "access.allow-guest-user = true"
MIB = 1 << 20
NOISE_MIB = 16
EPERM_TEXT = "Request requires owner credentials"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon(configuration=OPEN) as daemon:
        yield daemon


@pytest.fixture
def owner(daemon: Daemon) -> Iterator[RawClient]:
    with daemon.connect() as client:
        yield client


@pytest.fixture
def guest(daemon: Daemon) -> Iterator[RawClient]:
    with daemon.connect(userid=GUEST) as client:
        yield client


def answer_of(daemon: Daemon, userid: int) -> int:
    """The byte that the user is met with."""
    with daemon.connect(handshake=False, userid=userid) as client:
        return client.socket.recv(1)[0]


# -- who comes in


def test_guests_come_in_as_soon_as_the_configuration_says_so_and_stay_when_it_no_longer_does() -> None:
    with running_daemon(configuration="") as daemon, daemon.connect() as owner:
        assert answer_of(daemon, GUEST) == errno.EPERM
        daemon.configuration.write_text(OPEN)
        assert owner.ask("config.reload").aux1 == 0
        assert json_of(owner.ask("connector-local.stats-get"))["allow_guest_user"] is True
        with daemon.connect(userid=GUEST) as guest:
            assert guest.is_served()
            assert owner.ask("config.load", {}).aux1 == 0
            assert answer_of(daemon, GUEST) == errno.EPERM
            assert guest.is_served()


def test_who_is_refused_is_told_of_in_one_clear_line() -> None:
    with running_daemon(configuration="") as daemon, daemon.connect() as owner:
        assert answer_of(daemon, GUEST) == errno.EPERM
        (line,) = [line for line in daemon.log.splitlines() if "refused" in line]
        assert re.search(rf"refused pid \d+, uid {GUEST}: .*access\.allow-guest-user is not set", line)
        owner.say(ask("log.dmesg", {"follow": False}, flags=FLUX_MSGFLAG_STREAMING))
        kept = b""
        while (answer := owner.hear()).aux1 == 0:
            kept += answer.payload or b""
        assert f"uid {GUEST}: it is not the owner".encode() in kept


def test_a_guest_is_whom_the_kernel_says_with_the_roles_of_the_configuration(guest: RawClient) -> None:
    answer = json_of(guest.ask("broker.ping", {}, userid=0, rolemask=FLUX_ROLE_ALL))
    assert (answer["userid"], answer["rolemask"]) == (GUEST, 6)


def test_an_admin_has_a_role_more() -> None:
    roles = f'{OPEN}\n[access.roles.admin]\nusers = ["nobody"]\n'
    with running_daemon(configuration=roles) as daemon, daemon.connect(userid=GUEST) as guest:
        assert json_of(guest.ask("broker.ping", {}))["rolemask"] == 6 | 8
        assert guest.ask("attr.set", {"name": "test.a", "value": "1"}).aux1 == errno.EPERM


# -- what it may not


def topics_by_who() -> list[tuple[str, str]]:
    """Every topic of the tables, with who may ask; those of each service once for `broker` and for `flame`."""
    services = PROTOCOL.split("## Services of the broker")[1].split("## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \| (all|users|owner)(?: \([^|]*)? \|", services, re.M)
    found = [(topic, who) for cell, who in rows for topic in re.findall(r"`([^`]+)`", cell)]
    engine = re.findall(r"`(flame\.[a-z.]+)`", PROTOCOL.split("## Topics of the engine")[1].split("\n## ")[0])
    found += [(topic, "owner") for topic in set(engine) - {"flame.ping"} if not topic.endswith(".disconnect")]
    expanded = [
        (topic.replace("<service>", service), who)
        for topic, who in found
        for service in (("broker", "flame", "config") if "<service>" in topic else ("",))
    ]
    assert len(expanded) > 60, "the pattern no longer finds the topics"
    return sorted(set(expanded))


@pytest.mark.parametrize(("topic", "who"), topics_by_who())
def test_a_guest_may_ask_what_the_tables_say_and_nothing_else(guest: RawClient, topic: str, who: str) -> None:
    answer = guest.ask(topic, {})
    if who == "owner":
        assert (answer.aux1, text_of(answer)) == (errno.EPERM, EPERM_TEXT)
    else:
        assert answer.aux1 not in (errno.EPERM, errno.ENOSYS)


def test_a_guest_sees_private_events_of_its_own_only(daemon: Daemon, owner: RawClient, guest: RawClient) -> None:
    with daemon.connect(userid=OTHER_GUEST) as other:
        for client in (owner, guest, other):
            assert client.ask("event.subscribe", {"topic": "secret"}).aux1 == 0

        def publish(client: RawClient, topic: str, flags: int) -> None:
            event = wire.event(topic)
            event.flags |= flags
            client.say(event)

        publish(owner, "secret.1", FLUX_MSGFLAG_PRIVATE)
        assert owner.hear().topic == "secret.1"
        publish(other, "secret.2", FLUX_MSGFLAG_PRIVATE)
        assert other.hear().topic == "secret.2"
        publish(guest, "secret.3", FLUX_MSGFLAG_PRIVATE)
        assert guest.hear().topic == "secret.3"
        publish(owner, "secret.4", 0)
        assert [owner.hear().topic for _ in range(3)] == ["secret.2", "secret.3", "secret.4"]
        assert guest.hear().topic == other.hear().topic == "secret.4"


@pytest.mark.parametrize("name", ["mine", f"{OTHER_GUEST}-x", f"{GUEST}", "", f" {GUEST}-x", "attr", f"x{GUEST}-"])
def test_a_guest_registers_no_name_but_its_own(guest: RawClient, name: str) -> None:
    assert guest.ask("service.add", {"service": name}).aux1 == errno.EPERM


def test_a_guest_removes_no_service_of_another(owner: RawClient, guest: RawClient) -> None:
    assert owner.ask("service.add", {"service": f"{GUEST}-taken"}).aux1 == 0
    assert guest.ask("service.add", {"service": f"{GUEST}-taken"}).aux1 == errno.EEXIST
    assert guest.ask("service.remove", {"service": f"{GUEST}-taken"}).aux1 == errno.ENOENT


def test_a_guest_ends_no_stream_of_the_owner_whatever_it_claims(owner: RawClient, guest: RawClient) -> None:
    """It brings the owner's address as its own first one, and sends what a disconnect or a cancel would be."""
    assert owner.ask("service.add", {"service": "learn"}).aux1 == 0
    owner.say(ask("learn.x", {}, 9))
    address = (owner.hear().routes or [""])[0]
    owner.say(ask("config.get", None, 5, flags=FLUX_MSGFLAG_STREAMING))
    before = json_of(owner.hear())
    for topic in ("config.disconnect", "log.disconnect", "disconnect", "flame.session.disconnect"):
        guest.say(ask(topic, None, 5, routes=[address], userid=0, rolemask=1))
    guest.say(ask("config.get", None, 5, routes=[address], flags=FLUX_MSGFLAG_STREAMING))
    guest.say(ask("log.cancel", {"matchtag": 5}, 6, routes=[address]))
    assert guest.is_served()
    assert owner.ask("config.load", {**before, "new": 1}, matchtag=7).aux2 == 5, "the owner no longer hears of changes"
    assert owner.hear().aux2 == 7
    assert owner.ask("config.load", before, matchtag=8).aux2 == 5
    assert owner.hear().aux2 == 8


def test_a_guest_answers_what_it_was_asked_and_nothing_else(owner: RawClient, guest: RawClient, daemon: Daemon) -> None:
    """From an event it learns the owner's address, and answered its requests before the service did."""
    assert guest.ask("event.subscribe", {"topic": "learn"}).aux1 == 0
    assert owner.ask("service.add", {"service": "slow"}).aux1 == 0
    owner.say(wire.event("learn.x"))
    address = (guest.hear().routes or [])[-1]
    owner.say(ask("slow.x", {}, 9))
    assert owner.hear().topic == "slow.x"
    guest.say(Packet(FLUX_MSGTYPE_RESPONSE, 0, GUEST, 0, 0, 9, [address], "slow.x", b"forged"))
    assert guest.is_served()
    assert owner.ask("broker.ping", {}, matchtag=10).aux2 == 10, "the owner was given a forged answer"

    assert guest.ask("service.add", {"service": f"{GUEST}-x"}).aux1 == 0
    for tag, flags, errnum in ((20, 0, 0), (30, FLUX_MSGFLAG_STREAMING, 0), (40, FLUX_MSGFLAG_STREAMING, 61)):
        owner.say(ask(f"{GUEST}-x.y", {}, tag, flags=flags))
        answer = wire.response_to(guest.hear(), b"good", errnum)
        for _ in range(2):
            guest.say(answer)
        assert guest.is_served()
        owner.say(ask("broker.ping", {}, 99))
        heard = [owner.hear().aux2]
        while heard[-1] != 99:
            heard.append(owner.hear().aux2)
        assert heard == ([tag, tag, 99] if tag == 30 else [tag, 99]), "only a stream goes on behind an answer"
    assert guest.ask("service.remove", {"service": f"{GUEST}-x"}).aux1 == 0


# -- what it may not use up


def test_one_guest_has_so_many_connections_and_others_come_in_still(daemon: Daemon, owner: RawClient) -> None:
    with contextlib.ExitStack() as stack:
        sockets = sockets_of(GUEST, daemon.path, GUEST_CONNECTIONS_MAX + 1)
        clients = [stack.enter_context(RawClient(connection, handshake=False)) for connection in sockets]
        greetings = [client.socket.recv(1)[0] for client in clients]
        assert greetings == [0] * GUEST_CONNECTIONS_MAX + [errno.EAGAIN]
        assert owner.is_served()
        assert answer_of(daemon, OTHER_GUEST) == 0
        clients[0].socket.close()
        wait_until(lambda: answer_of(daemon, GUEST) == 0)


def test_guests_together_leave_file_descriptors_to_the_owner() -> None:
    with running_daemon(most_files=64, configuration=OPEN) as daemon, contextlib.ExitStack() as stack:
        greetings = []
        for userid in (GUEST, OTHER_GUEST):
            for connection in sockets_of(userid, daemon.path, 20):
                client = stack.enter_context(RawClient(connection, handshake=False))
                greetings.append(client.socket.recv(1)[0])
        assert greetings == [0] * 32 + [errno.EAGAIN] * 8
        with daemon.connect() as owner:
            assert owner.is_served()
            assert "half of the daemon's file descriptors" in daemon.log


def test_a_guest_announces_no_more_than_a_guests_message(daemon: Daemon, owner: RawClient) -> None:
    before = daemon.peak_bytes
    with contextlib.ExitStack() as stack:
        for connection in sockets_of(GUEST, daemon.path, 4):
            client = stack.enter_context(RawClient(connection))
            client.socket.sendall(bytes.fromhex("1200eeff") + struct.pack(">I", GUEST_MESSAGE_MAX_BYTES))
            client.socket.sendall(bytes(GUEST_MESSAGE_MAX_BYTES - 1))
        with daemon.connect(userid=GUEST) as client:
            client.socket.sendall(bytes.fromhex("1200eeff") + struct.pack(">I", GUEST_MESSAGE_MAX_BYTES + 1))
            assert client.is_cut()
        assert owner.is_served()
        grown = (daemon.peak_bytes - before) >> 20
        most = 4 * 2 * (GUEST_MESSAGE_MAX_BYTES >> 20)  # a buffer that grows has as much again in reserve, at most
        assert grown < most + NOISE_MIB


@pytest.mark.parametrize(
    "payload",
    [
        b'{"pad":[%s]}' % b",".join([b"1." + b"9" * 30 + b"e-300"] * 25_000),
        b"{%s}" % b",".join(b'"%x":0' % number for number in range(100_000)),
    ],
    ids=["numbers", "keys"],
)
def test_a_guest_holds_nobody_up_with_a_ping_that_is_slow_to_read(
    owner: RawClient, guest: RawClient, payload: bytes
) -> None:
    guest.say(ask("broker.ping", payload + b"\0"))
    took: list[float] = []
    while not took or not is_readable(guest):
        before = time.monotonic()
        assert owner.is_served()
        took.append(time.monotonic() - before)
    assert max(took) < 0.5
    answer = guest.hear()
    assert answer.aux1 == 0
    assert len(answer.payload or b"") > len(payload)


def test_a_guest_that_does_not_read_is_cut_off_sooner_than_an_owner(
    daemon: Daemon, owner: RawClient, guest: RawClient
) -> None:
    assert guest.ask("event.subscribe", {"topic": "flood"}).aux1 == 0
    for _ in range(GUEST_HARD_MARK_BYTES // MIB + 2):
        owner.say(wire.event("flood", bytes(MIB)))
    assert owner.is_served()
    assert guest.is_cut()


def is_readable(client: RawClient) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


def test_streams_of_a_guest_leave_room_to_the_owner(owner: RawClient, guest: RawClient) -> None:
    for tag in range(1, 4097):
        guest.say(ask("config.get", None, tag, flags=FLUX_MSGFLAG_STREAMING))
    assert [guest.hear().aux1 for _ in range(4096)] == [0] * 4096
    guest.say(ask("config.get", None, 5000, flags=FLUX_MSGFLAG_STREAMING))
    assert guest.hear().aux1 == errno.EAGAIN
    owner.say(ask("config.get", None, 1, flags=FLUX_MSGFLAG_STREAMING))
    assert owner.hear().aux1 == 0
