from __future__ import annotations

import json
import select
import signal
from typing import TYPE_CHECKING

import pytest

from flux import packet as wire
from flux.connector import connect
from flux.session import Session
from tests.hearth.cli.commands import Running, environment

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

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
    """The next line that is not the one which told that it listens."""
    while but in (line := command.line()):
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
    assert binary["sequence"] == text["sequence"] + 1


def test_only_the_topics_asked_for_are_shown(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub", "job", "task.") as command:
        publisher.wait_for(command, "job.ready")
        for topic in ("other", "job.start", "tasks", "task.end"):
            publisher.publish(topic)
        assert [_next_line(command, "ready") for _ in range(2)] == ["job.start\t-", "task.end\t-"]


def test_a_count_ends_it(instance: Instance, publisher: Publisher) -> None:
    with Running(instance.env, "event", "sub", "-c", "5") as command:
        publisher.wait_for(command, "tick")
        for _ in range(5):
            publisher.publish("tick")
        assert [command.line() for _ in range(6)] == ["tick\t-"] * 5 + [""]
        assert command.end() == (0, "")


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
