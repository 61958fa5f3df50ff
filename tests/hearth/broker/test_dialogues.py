"""What was said to the original broker is said to ours, which must answer the same (tests/vectors/README.md)."""

from __future__ import annotations

import contextlib
import json
import os
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_REQUEST, FLUX_MSGTYPE_RESPONSE
from tests.dialogues import DIALOGUES, packet_of
from tests.hearth.broker.daemon import GUEST, Daemon, RawClient, needs_root, running_daemon, wait_until
from tests.hearth.broker.wire import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flux.packet import Packet

NOT_OURS = {
    "job-submit-wait": "there is no job manager",
    "job-cancel": "there is no job manager",
}
"""Dialogues that one node without these cannot have."""

WITH_A_GUEST = {"guest-attr-set-eperm", "guest-service-names", "guest-event-cred"}
WITH_A_STRANGER = {"auth-denied"}

RECORDED_OWNER = 0


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def open_daemon() -> Iterator[Daemon]:
    """One that lets guests in."""
    with running_daemon(configuration="access.allow-guest-user = true") as daemon:
        yield daemon


class Heard(NamedTuple):
    """A message without what differs from one run to the next."""

    type: int
    flags: int
    userid: int | str
    rolemask: int
    aux1: int
    matchtag: int
    has_routes: bool
    topic: str | None
    payload: object


class Side:
    """One end's view of a dialogue: who its owner is, and from which number it counts its events."""

    def __init__(self, owner: int) -> None:
        self._owner = owner
        self._first_sequence: int | None = None

    def heard(self, packet: Packet) -> Heard:
        return Heard(
            packet.type,
            packet.flags,
            self._userid(packet.userid),
            packet.rolemask,
            self._sequence(packet.aux1) if packet.type == FLUX_MSGTYPE_EVENT else packet.aux1,
            packet.aux2,
            bool(packet.routes),
            packet.topic,
            self._payload(packet.payload),
        )

    def _userid(self, userid: int) -> int | str:
        return "owner" if userid == self._owner else userid

    def _sequence(self, sequence: int) -> int:
        if self._first_sequence is None:
            self._first_sequence = sequence
        return sequence - self._first_sequence

    def _payload(self, payload: bytes | None) -> object:
        """JSON as what it says, other bytes as they are."""
        try:
            value: Any = json.loads((payload or b"").removesuffix(b"\0"))
        except ValueError:
            return payload
        if isinstance(value, dict):
            if "seq" in value and "route" not in value:
                value["seq"] = self._sequence(value["seq"])
            if "route" in value:
                value["route"] = [len(hop) for hop in value["route"].split("!")]
                value["userid"] = self._userid(value["userid"])
            if "rootref" in value:
                value["rootref"], value["rootseq"] = len(value["rootref"]), type(value["rootseq"])
            if "duration" in value:
                value["duration"] = type(value["duration"])
        return value


class Replay:
    """Plays the clients' part of a dialogue."""

    def __init__(self, daemon: Daemon, opened: contextlib.ExitStack, userid: int | None = None) -> None:
        self._daemon = daemon
        self._userid = userid
        self._opened = opened
        self._watcher = opened.enter_context(daemon.connect())
        self._clients: dict[int, RawClient] = {}
        self._recorded, self._real = Side(RECORDED_OWNER), Side(os.getuid())
        self._routes: dict[tuple[str, ...], list[str] | None] = {}

    def play(self, step: dict[str, Any]) -> None:
        if step["dir"] == "connect":
            client = self._daemon.connect(handshake=False, userid=self._userid)
            self._clients[step["conn"]] = self._opened.enter_context(client)
        elif step["dir"] == "C>S":
            packet = packet_of(step)
            if packet.type == FLUX_MSGTYPE_RESPONSE:
                packet.routes = list(self._routes[tuple(packet.routes or ())] or ())
            self._clients[step["conn"]].say(packet)
        elif step["dir"] == "client-close":
            self._hang_up(self._clients.pop(step["conn"]))
        elif step["dir"] == "server-close":
            assert self._clients.pop(step["conn"]).is_cut()

    def _hang_up(self, client: RawClient) -> None:
        """Look that nothing came that should not, and wait until the daemon has seen the end."""
        client.say(ask("broker.ping", {"is": "last"}))
        assert client.hear().topic == "broker.ping"
        before = self._daemon.connections(self._watcher)
        client.socket.close()
        wait_until(lambda: self._daemon.connections(self._watcher) == before - 1)

    def check(self, steps: list[dict[str, Any]]) -> None:
        """Read what the recording says comes now, and compare."""
        for conn in sorted({step["conn"] for step in steps}):
            for step in steps:
                if step["conn"] == conn and step["kind"] == "handshake":
                    assert self._clients[conn].socket.recv(1).hex() == step["hex"]
            recorded = [packet_of(step) for step in steps if step["conn"] == conn if step["kind"] != "handshake"]
            real = [self._clients[conn].hear() for _ in recorded]
            if all((packet.topic or "").endswith(".disconnect") for packet in recorded):
                recorded.sort(key=order_of)
                real.sort(key=order_of)
            for theirs, ours in zip(recorded, real, strict=True):
                if ours.type == FLUX_MSGTYPE_REQUEST:
                    assert self._routes.setdefault(tuple(theirs.routes or ()), ours.routes) == ours.routes
                assert self._real.heard(ours) == self._recorded.heard(theirs)


def order_of(notice: Packet) -> tuple[str, int]:
    return notice.topic or "", notice.aux1


def test_what_is_left_out_is_in_the_recording() -> None:
    assert NOT_OURS.keys() <= DIALOGUES.keys()


def replay(name: str, daemon: Daemon, userid: int | None = None) -> None:
    with contextlib.ExitStack() as opened:
        player = Replay(daemon, opened, userid)
        for is_from_server, steps in groupby(DIALOGUES[name]["steps"], lambda step: step["dir"] == "S>C"):
            if is_from_server:
                player.check(list(steps))
            else:
                for step in steps:
                    player.play(step)


@pytest.mark.parametrize("name", sorted(DIALOGUES.keys() - NOT_OURS.keys() - WITH_A_GUEST - WITH_A_STRANGER))
def test_a_recorded_dialogue_goes_the_same_way_with_our_daemon(daemon: Daemon, name: str) -> None:
    replay(name, daemon)


@needs_root
@pytest.mark.parametrize("name", sorted(WITH_A_GUEST))
def test_a_recorded_dialogue_of_a_guest_goes_the_same_way(open_daemon: Daemon, name: str) -> None:
    replay(name, open_daemon, GUEST)


@needs_root
def test_a_stranger_is_refused_the_same_way(daemon: Daemon) -> None:
    daemon.rundir.chmod(0o711)
    for name in WITH_A_STRANGER:
        replay(name, daemon, GUEST)
