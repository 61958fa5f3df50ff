from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flux import Flux
from flux import packet as wire
from flux.connector import connect
from flux.constants import FLUX_MSGFLAG_PRIVATE
from flux.session import Session
from tests.hearth.broker.daemon import wait_until
from tests.hearth.cli.commands import Running, environment

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.hearth.cli.commands import Instance

_AGAIN_S = 0.05


class Publisher:
    """A client that publishes events."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._session = Session()

    def publish(self, topic: str, payload: bytes | None = None) -> None:
        self._session.send(wire.event(topic, payload))
        self._stream.sendall(self._session.bytes_to_send())

    def wait_for(self, command: Running, topic: str) -> None:
        """Publish a topic until the command shows it: from then on it sees everything."""
        assert command.process.stdout is not None
        while not select.select([command.process.stdout], [], [], _AGAIN_S)[0]:
            assert command.process.poll() is None
            self.publish(topic)


@pytest.fixture
def publisher(instance: Instance) -> Iterator[Publisher]:
    with connect(instance.uri) as stream:
        yield Publisher(stream)


def _next_line(command: Running, but: str) -> str:
    """The next line that is neither the one which told that it listens, nor the daemon's own heart."""
    while but in (line := command.line()) or "heartbeat.pulse" in line:
        pass
    return line


def test_an_event_is_a_line_of_topic_and_payload(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub") as command:
        publisher.wait_for(command, "ready")
        publisher.publish("job.start", b'{"id":7}\0')
        publisher.publish("job.end")
        publisher.publish("raw", b"\xff\n")
        assert [_next_line(command, "ready") for _ in range(3)] == [
            'job.start\t{"id":7}',
            "job.end\t-",
            "raw\t<2 bytes>",
        ]


def test_an_event_is_a_json_object_on_a_line(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub", "--json") as command:
        publisher.wait_for(command, "ready")
        publisher.publish("job.start", b'{"id":7}\0')
        publisher.publish("raw", b"\xff")
        text, binary = (json.loads(_next_line(command, "ready")) for _ in range(2))
    assert (text["topic"], json.loads(text["payload"])) == ("job.start", {"id": 7})
    assert (binary["topic"], binary["payload"]) == ("raw", {"base64": "/w=="})
    assert binary["sequence"] > text["sequence"]


def test_only_the_topics_asked_for_are_shown(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub", "job", "task.") as command:
        publisher.wait_for(command, "job.ready")
        for topic in ("other", "job.start", "tasks", "task.end"):
            publisher.publish(topic)
        assert [_next_line(command, "ready") for _ in range(2)] == ["job.start\t-", "task.end\t-"]


def test_a_count_ends_it(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub", "-c", "5", "tick") as command:
        publisher.wait_for(command, "tick")
        for _ in range(5):
            publisher.publish("tick")
        assert [command.line() for _ in range(6)] == ["tick\t-"] * 5 + [""]
        assert command.end() == (0, "")


@contextlib.contextmanager
def listening(instance: Instance, publisher: Publisher) -> Iterator[Callable[[], Any]]:
    """Hands out what gives the next event that is published meanwhile, as --json shows it."""
    with Running(instance.env, "event", "sub", "--json") as command:
        publisher.wait_for(command, "ready")
        yield lambda: json.loads(_next_line(command, "ready"))


@pytest.mark.parametrize("how", [[], ["--sync"], ["--private"], ["-s", "-p"]], ids=" ".join)
def test_what_is_published_arrives(instance: Instance, publisher: Publisher, how: list[str]) -> None:
    with listening(instance, publisher) as next_event:
        told = instance.run("event", "pub", *how, "job.é", '{"id": 7}')
        event = next_event()
        assert (event["topic"], event["payload"]) == ("job.é", '{"id": 7}')
        is_sync = bool({"--sync", "-s"} & set(how))
        assert (told.returncode, told.stdout) == (0, f"{event['sequence']}\n" if is_sync else "")


def test_the_sequence_number_is_json_too_where_it_is_known(instance: Instance, publisher: Publisher) -> None:
    with listening(instance, publisher) as next_event:
        told = instance.json("event", "pub", "--sync", "job")
        assert told == {"topic": "job", "sequence": next_event()["sequence"]}
        assert instance.json("event", "pub", "job") == {"topic": "job", "sequence": None}


@pytest.mark.parametrize("how", [[], ["--sync"]], ids=" ".join)
@pytest.mark.parametrize(
    ("arguments", "stdin", "payload"),
    [
        ([], "", None),
        (["any text"], "", b"any text\0"),
        ([""], "", b"\0"),
        (["-"], '{"a":\n1}\n', b'{"a":\n1}\0'),
        (["-"], "two\n\n", b"two\n\0"),
        (["--raw", "{no json"], "", b"{no json"),
        (["--raw", "-"], "a\0b\n", b"a\0b\n"),
        (["--raw", os.fsdecode(b"\xff")], "", b"\xff"),
    ],
)
def test_the_payload_is_what_was_given(
    instance: Instance, how: list[str], arguments: list[str], stdin: str, payload: bytes | None
) -> None:
    with Flux(instance.uri) as handle:
        handle.event_subscribe("pub.")
        assert instance.run("event", "pub", *how, "pub.x", *arguments, stdin=stdin).returncode == 0
        assert handle.event_recv().raw_payload == payload


def test_a_private_event_is_marked_so(instance: Instance) -> None:
    with Flux(instance.uri) as handle:
        handle.event_subscribe("pub.")
        for how in ([], ["--sync"]):
            instance.run("event", "pub", "--private", *how, "pub.x")
            assert handle.event_recv().flags & FLUX_MSGFLAG_PRIVATE


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        (["topic", "{'a': 1}"], "", "begins like JSON but is none"),
        (["topic", "-"], "a\0b", "a text has no NUL in it"),
        (["topic", os.fsdecode(b"\xff")], "", "is no UTF-8 text"),
        (["", "x"], "", "is empty"),
        ([os.fsdecode(b"\xff"), "x"], "", "is no UTF-8 text"),
    ],
)
def test_what_cannot_be_published_is_misuse(instance: Instance, arguments: list[str], stdin: str, problem: str) -> None:
    told = instance.run("event", "pub", *arguments, stdin=stdin)
    assert (told.returncode, problem in told.stderr) == (2, True)


def _waits_for_input(command: Running) -> bool:
    """Whether the process sleeps although it has read everything."""
    assert command.process.stdin is not None
    unread = bytearray(4)
    fcntl.ioctl(command.process.stdin, termios.FIONREAD, unread)
    state = Path(f"/proc/{command.process.pid}/stat").read_text().rpartition(") ")[2][0]
    return not any(unread) and state == "S"


def test_an_interrupt_while_the_payload_is_read_publishes_nothing(instance: Instance) -> None:
    with Running(instance.env, "event", "pub", "topic", "-", stdin=subprocess.PIPE) as command:
        assert command.process.stdin is not None
        command.process.stdin.write("x")
        command.process.stdin.flush()
        wait_until(lambda: _waits_for_input(command))
        assert command.stop(signal.SIGINT) == 130


def test_an_interrupt_exits_with_130(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub") as command:
        publisher.wait_for(command, "ready")
        assert command.stop(signal.SIGINT) == 130


def test_the_end_of_the_instance_is_an_error(folder: Path) -> None:
    env = environment(folder)
    with Running(env, "up") as up:
        uri = up.line().removeprefix("ready ")
        with connect(uri) as stream, Running(env, "event", "sub") as command:
            Publisher(stream).wait_for(command, "ready")
            assert up.stop(signal.SIGTERM) == 0
            assert command.end() == (1, f"Error: connection to {uri} is lost: the instance hung up\n")
