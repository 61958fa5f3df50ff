"""What each command of flux-core sends, in its order and in the C library's bytes, and what it must get to go on."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_RESPONSE
from tests.hearth.broker.daemon import WAIT_S, Daemon, running_daemon, wait_until
from tests.hearth.broker.wire import json_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flux.packet import Packet
    from tests.hearth.broker.daemon import RawClient

ANY = 0xFFFFFFFF
UNKNOWN = 0xFFFFFFFF
TOPIC, PAYLOAD, NORESPONSE, ROUTE, PRIVATE, STREAMING = 1, 2, 4, 8, 0x20, 0x40
REQUEST, EVENT = 1, 4
SESSIONS = Path(__file__).parents[2] / "vectors" / "sessions.json"


def c_frame(data: bytes) -> bytes:
    return bytes([len(data)]) + data if len(data) < 255 else b"\xff" + struct.pack(">I", len(data)) + data


def c_message(
    kind: int, topic: str, payload: bytes | None, *, flags: int = 0, aux1: int = ANY, tag: int = 0, who: int = UNKNOWN
) -> bytes:
    """The bytes that libflux writes, put together by hand."""
    flags |= TOPIC | ROUTE | (PAYLOAD if payload is not None else 0)
    body = b"\0" + c_frame(topic.encode())
    if payload is not None:
        body += c_frame(payload)
    body += c_frame(struct.pack(">BBBBIIII", 0x8E, 1, kind, flags, who, 0, aux1, tag))
    return bytes.fromhex("1200eeff") + struct.pack(">I", len(body)) + body


def compact(value: object) -> bytes:
    """JSON as the C library prints it, with its NUL."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\0"


class Command:
    """One connection of a C program: tags from 1, the lowest that is free."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._tags: set[int] = set()

    def send(
        self, topic: str, payload: object = None, *, nodeid: int = ANY, flags: int = 0, data: bytes | None = None
    ) -> int:
        """Send a request; its tag, 0 if it wants no answer."""
        tag = 0 if flags & NORESPONSE else next(tag for tag in range(1, 1024) if tag not in self._tags)
        self._tags |= {tag} - {0}
        data = data if payload is None else compact(payload)
        self._client.socket.sendall(c_message(REQUEST, topic, data, flags=flags, aux1=nodeid, tag=tag))
        return tag

    def event(self, topic: str, payload: bytes | None = None, *, flags: int = 0) -> None:
        self._client.socket.sendall(c_message(EVENT, topic, payload, flags=flags, aux1=0))

    def hear(self) -> Packet:
        return self._client.hear()

    def answer(self, tag: int) -> Packet:
        """The next message, which must be an answer to this tag, good or bad, as a broker gives it."""
        packet = self.hear()
        assert (packet.type, packet.aux2, packet.routes) == (FLUX_MSGTYPE_RESPONSE, tag, [])
        if packet.topic not in ("event.subscribe", "event.unsubscribe"):
            assert (packet.userid, packet.rolemask) == (os.getuid(), 5)
        if not packet.flags & STREAMING or packet.aux1:
            self._tags.discard(tag)
        return packet

    def rpc(self, topic: str, payload: object = None, *, nodeid: int = ANY) -> Any:
        """The object in the answer, None without one."""
        tag = self.send(topic, payload, nodeid=nodeid)
        packet = self.answer(tag)
        assert packet.aux1 == 0, (topic, packet.aux1, packet.payload)
        return None if packet.payload is None else json_of(packet)

    def failed_rpc(self, topic: str, payload: object = None) -> tuple[int, str | None]:
        packet = self.answer(self.send(topic, payload))
        assert packet.aux1
        return packet.aux1, text_of(packet)

    def attribute(self, name: str, *, nodeid: int = ANY) -> str:
        found = self.rpc("attr.get", {"name": name}, nodeid=nodeid)
        assert found["flags"] in (0, 1)
        assert isinstance(found["value"], str)
        return found["value"]

    def close(self) -> None:
        self._client.socket.close()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_daemon(configuration="[mine]\nx = 1\n") as daemon:
        yield daemon


@contextlib.contextmanager
def started(daemon: Daemon) -> Iterator[Command]:
    with daemon.connect() as client:
        yield Command(client)


@pytest.fixture
def command(daemon: Daemon) -> Iterator[Command]:
    with started(daemon) as command:
        yield command


def test_these_are_the_bytes_of_the_c_library() -> None:
    (dialogue,) = [each for each in json.loads(SESSIONS.read_text()) if each["name"] == "attr-get-rank"]
    (recorded,) = [bytes.fromhex(step["hex"]) for step in dialogue["steps"] if step["dir"] == "C>S"]
    assert c_message(REQUEST, "attr.get", compact({"name": "rank"}), tag=1) == recorded


# -- attributes


def test_getattr(command: Command) -> None:
    assert command.attribute("rank") == "0"
    assert command.failed_rpc("attr.get", {"name": "ghost"}) == (errno.ENOENT, None)


def test_setattr(command: Command) -> None:
    assert command.rpc("attr.set", {"name": "test.set", "value": "é"}) is None
    assert command.attribute("test.set") == "é"
    assert command.rpc("attr.rm", {"name": "test.set"}) is None
    assert command.failed_rpc("attr.set", {"name": "rank", "value": "7"})[0] == errno.EINVAL


def test_lsattr(command: Command) -> None:
    names = command.rpc("attr.list")["names"]
    assert {"rank", "size", "version", "hostlist", "parent-uri", "config.path"} <= set(names)
    for name in names:
        tag = command.send("attr.get", {"name": name})
        assert command.answer(tag).aux1 == (errno.ENOENT if name == "parent-uri" else 0)


def test_version_and_uri(daemon: Daemon, command: Command) -> None:
    assert command.attribute("version").startswith("0.88.0")
    assert command.attribute("local-uri") == f"local://{daemon.path}"


# -- ping


@pytest.mark.parametrize("nodeid", [ANY, 0])
def test_ping(command: Command, nodeid: int) -> None:
    assert command.attribute("hostlist") == socket.gethostname()
    for seq in range(3):
        sent = {"seq": seq, "time.tv_sec": 5, "time.tv_nsec": 7, "pad": "p" * 1000}
        answer = command.rpc("broker.ping", sent, nodeid=nodeid)
        assert len(answer.pop("route").split("!")) == 3
        assert answer == {**sent, "userid": os.getuid(), "rolemask": 5, "rank": 0}


def test_ping_of_what_is_not_there(command: Command) -> None:
    tag = command.send("broker.ping", {"seq": 0}, nodeid=7)
    answer = command.answer(tag)
    assert (answer.aux1, answer.payload) == (errno.EHOSTUNREACH, None)
    assert command.failed_rpc("ghost.ping", {"seq": 0}) == (
        errno.ENOSYS,
        "No service matching ghost.ping is registered",
    )


# -- events


def heard(watcher: Command) -> tuple[str | None, bytes | None, int]:
    event = watcher.hear()
    assert event.type == FLUX_MSGTYPE_EVENT
    return event.topic, event.payload, event.flags & PRIVATE


@pytest.mark.parametrize(
    ("payload", "flags"),
    [(None, 0), (compact({"a": 1}), 0), (b"raw\xff", 0), (compact({}), PRIVATE)],
    ids=["plain", "json", "raw", "private"],
)
def test_event_pub_sends_and_is_gone_before_anybody_can_answer(
    daemon: Daemon, command: Command, payload: bytes | None, flags: int
) -> None:
    assert command.rpc("event.subscribe", {"topic": "pub"}) is None
    with started(daemon) as publisher:
        publisher.event("pub.x", payload, flags=flags)
        publisher.close()
    assert heard(command) == ("pub.x", payload, flags)


def test_event_pub_synchronous(command: Command) -> None:
    assert command.rpc("event.subscribe", {"topic": "pub"}) is None
    first = command.rpc("event.publish", {"topic": "other", "flags": 0}, nodeid=0)["seq"]
    data = base64.b64encode(compact({"a": 1})).decode()
    tag = command.send("event.publish", {"topic": "pub.s", "flags": 0, "payload": data}, nodeid=0)
    assert heard(command) == ("pub.s", compact({"a": 1}), 0)
    assert json_of(command.answer(tag)) == {"seq": first + 1}


def test_event_pub_loopback(command: Command) -> None:
    assert command.rpc("event.subscribe", {"topic": "back"}) is None
    command.event("back", None)
    assert heard(command) == ("back", None, 0)


def test_event_sub_with_a_count(daemon: Daemon, command: Command) -> None:
    for topic in ("a.", "b."):
        assert command.rpc("event.subscribe", {"topic": topic}) is None
    with started(daemon) as publisher:
        for topic in ("a.1", "c.1", "b.1"):
            publisher.event(topic)
        assert [heard(command)[0] for _ in range(2)] == ["a.1", "b.1"]
        for topic in ("a.", "b."):
            assert command.rpc("event.unsubscribe", {"topic": topic}) is None
        tag = command.send("event.unsubscribe", {"topic": "a."})
        answer = command.answer(tag)
    assert (answer.aux1, answer.payload, answer.userid, answer.rolemask) == (errno.ENOENT, None, UNKNOWN, 1)


# -- the log

LINE = b"<48>1 2026-01-01T00:00:00.123456Z 0 logger 1234 - - hello"


def lines_of(command: Command, tag: int) -> list[bytes]:
    lines = []
    while not (answer := command.answer(tag)).aux1:
        assert answer.payload is not None
        lines.append(answer.payload)
    assert (answer.aux1, answer.payload) == (errno.ENODATA, None)
    return lines


def test_logger_dmesg_and_its_clearing(daemon: Daemon, command: Command) -> None:
    assert command.rpc("log.clear") is None
    with started(daemon) as logger:
        assert logger.attribute("rank") == "0"
        logger.send("log.append", data=LINE, flags=NORESPONSE)
        logger.close()
    wait_until(lambda: command.rpc("log.stats-get")["ring-used"] == 1)
    tag = command.send("log.dmesg", {"follow": False, "nobacklog": False}, flags=STREAMING)
    assert lines_of(command, tag) == [LINE + b"\0"]
    assert command.rpc("log.clear") is None
    tag = command.send("log.dmesg", {"follow": False, "nobacklog": False}, flags=STREAMING)
    assert lines_of(command, tag) == []
    tag = command.send("log.dmesg", {"follow": False, "nobacklog": False})
    assert command.answer(tag).aux1 == errno.EPROTO


def test_dmesg_follows_until_it_is_cancelled(daemon: Daemon, command: Command) -> None:
    tag = command.send("log.dmesg", {"follow": True, "nobacklog": True}, flags=STREAMING)
    with started(daemon) as logger:
        logger.send("log.append", data=LINE, flags=NORESPONSE)
        assert command.answer(tag).payload == LINE + b"\0"
    command.send("log.cancel", {"matchtag": tag}, flags=NORESPONSE)
    assert lines_of(command, tag) == []


# -- the state of things


def test_uptime(command: Command) -> None:
    assert int(command.attribute("security.owner")) == os.getuid()
    assert [command.attribute(name) for name in ("size", "instance-level")] == ["1", "0"]
    state = command.rpc("state-machine.get")
    assert state["state"] == "run"
    assert isinstance(state["duration"], float)
    assert float(command.attribute("broker.starttime", nodeid=0)) > 0
    assert command.rpc("resource.status")["drain"] == {}
    assert command.rpc("groups.get", {"name": "broker.online"}, nodeid=0) == {"members": "0"}
    assert command.rpc("job-manager.queue-list") == {"queues": []}
    assert command.rpc("job-manager.queue-status", {}, nodeid=0)["enable"] is False


def test_resource_status_names_this_host_and_its_cores(command: Command) -> None:
    status = command.rpc("resource.status", nodeid=0)
    assert status.keys() == {"R", "drain", "online", "offline", "exclude", "torpid"}
    execution = status["R"]["execution"]
    assert (status["R"]["version"], status["online"], execution["nodelist"]) == (1, "0", [socket.gethostname()])
    cores = len(os.sched_getaffinity(0))
    assert execution["R_lite"] == [{"rank": "0", "children": {"core": f"0-{cores - 1}" if cores > 1 else "0"}}]


def test_module_list_stats_and_usage(command: Command) -> None:
    modules = command.rpc("module.list")["mods"]
    for module in modules:
        assert module.keys() == {"name", "path", "idle", "status", "services", "sendqueue", "recvqueue"}
        assert module["status"] == 1
        assert isinstance(command.rpc(f"{module['name']}.stats-get"), dict)
        assert command.rpc(f"{module['name']}.stats-clear") is None
        assert command.rpc(f"{module['name']}.rusage")["maxrss"] > 0
        assert command.rpc(f"{module['name']}.debug", {"op": "setbit", "flags": 0}) == {"flags": 0}
    wrong = command.failed_rpc("module.load", {"path": "ghost", "args": []})
    assert wrong == (errno.ENOENT, "module not found in search path")


def test_overlay_status(command: Command) -> None:
    assert command.attribute("size") == "1"
    health = command.rpc("overlay.health", nodeid=0)
    assert (health["rank"], health["status"], health["children"]) == (0, "full", [])
    assert command.rpc("overlay.topology", {"rank": 0}, nodeid=0) == {"rank": 0, "size": 1, "children": []}
    assert command.attribute("hostlist")


def test_config_get_load_and_reload(command: Command) -> None:
    assert command.rpc("config.get") == {"mine": {"x": 1}}
    assert command.rpc("config.load", {"mine": {"x": 2}}) is None
    assert command.rpc("config.get") == {"mine": {"x": 2}}
    assert command.rpc("config.reload") is None
    assert command.rpc("config.get") == {"mine": {"x": 1}}


# -- others


def test_proxy_brings_the_address_and_the_user_of_its_client(daemon: Daemon, command: Command) -> None:
    assert command.attribute("version")
    inner = c_message(REQUEST, "broker.ping", compact({}), tag=1, who=1234)
    with daemon.connect() as proxy:
        address = b"11111111-2222-3333-4444-555555555555"
        body = c_frame(address) + inner[8:]
        proxy.socket.sendall(inner[:4] + struct.pack(">I", len(body)) + body)
        answer = proxy.hear()
        assert (answer.routes, answer.aux2) == ([address.decode()], 1)
        assert json_of(answer)["userid"] == 1234
        assert json_of(answer)["route"].startswith("11111111!")
        end = c_message(REQUEST, "broker.disconnect", None, flags=NORESPONSE)
        proxy.socket.sendall(end)
        assert proxy.is_served()


def test_shutdown() -> None:
    with running_daemon() as daemon, started(daemon) as command:
        assert command.failed_rpc("attr.get", {"name": "content.dump"}) == (errno.ENOENT, None)
        assert command.rpc("config.get") == {}
        tag = command.send("shutdown.start", {"loglevel": 6}, flags=STREAMING)
        shown = ""
        while not (answer := command.answer(tag)).aux1:
            shown += json_of(answer)["log"]
        assert answer.aux1 == errno.ENODATA
        assert shown.endswith("\n")
        assert daemon.process.wait(WAIT_S) == 0
