from __future__ import annotations

import json
import re
import select
import signal
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from flux import Flux
from tests.hearth.cli.commands import Running, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hearth.cli.commands import Instance

_AGAIN_S = 0.05
HEADER = b"1 2026-01-02T03:04:05.678901Z 0 prog 1234 - - "


@pytest.fixture
def handle(instance: Instance) -> Iterator[Flux]:
    """A client of an instance with an empty log."""
    with Flux(instance.uri) as handle:
        handle.rpc("log.clear").get()
        yield handle


def write(handle: Flux, *lines: bytes) -> None:
    for line in lines:
        message = handle.event_create("log.append")
        message.type = 1
        message.topic = "log.append"
        message.raw_payload = line
        handle.send(message)
    handle.rpc("log.stats-get").get()


def shown(instance: Instance, *arguments: str) -> list[Any]:
    told = instance.run("log", "show", "--json", *arguments)
    assert (told.returncode, told.stderr) == (0, "")
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_a_line_is_an_object_with_its_time_in_utc(instance: Instance, handle: Flux) -> None:
    write(handle, b"<24>" + HEADER + b"it broke")
    assert shown(instance) == [
        {
            "time": "2026-01-02T03:04:05.678901Z",
            "level": "err",
            "rank": 0,
            "app": "prog",
            "pid": 1234,
            "text": "it broke",
        }
    ]


def test_a_line_for_people_has_local_time(instance: Instance, handle: Flux) -> None:
    write(handle, b"<24>" + HEADER + b"it\tbroke")
    local = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc).astimezone()
    assert instance.run("log", "show").stdout == f"{local:%Y-%m-%d %H:%M:%S}.678  err      0  prog[1234]: it\\tbroke\n"


def test_what_is_no_line_is_shown_all_the_same(instance: Instance, handle: Flux) -> None:
    write(handle, b"what?", b"<48>1 noon x prog - - - \xff")
    nothing = {"time": None, "rank": None, "pid": None}
    assert shown(instance) == [
        {**nothing, "level": "notice", "app": None, "text": "what?"},
        {**nothing, "level": "info", "app": "prog", "text": {"base64": "/w=="}},
    ]
    first, second = instance.run("log", "show").stdout.splitlines()
    assert re.split("  +", first) == ["-", "notice", "what?"]
    assert re.split("  +", second) == ["noon", "info", "x", "prog[-]: <1 bytes>"]


def test_only_lines_as_severe_as_asked_for_are_shown(instance: Instance, handle: Flux) -> None:
    for level in range(8):
        write(handle, b"<%d>" % (level * 8) + HEADER + b"x")
    assert [line["level"] for line in shown(instance, "--level", "err")] == ["emerg", "alert", "crit", "err"]
    assert len(shown(instance)) == 8


def test_what_is_appended_is_there_when_the_command_ends(instance: Instance, handle: Flux) -> None:
    assert instance.run("log", "append", "two", "words").stdout == ""
    (line,) = shown(instance)
    assert (line["level"], line["text"], line["rank"]) == ("info", "two words", 0)
    assert instance.json("log", "append", "--level", "debug", "x\ny") == {"level": "debug", "text": "x\ny"}
    assert [(line["level"], line["text"]) for line in shown(instance)[1:]] == [("debug", "x"), ("debug", "y")]


def test_a_cleared_log_is_empty(instance: Instance, handle: Flux) -> None:
    write(handle, b"x")
    assert instance.json("log", "clear") == {}
    assert instance.run("log", "show").stdout == ""


def test_who_follows_sees_what_was_and_what_comes(instance: Instance, handle: Flux) -> None:
    write(handle, b"old")
    with Running(instance.env, "log", "follow", "--json") as command:
        assert json.loads(command.line())["text"] == "old"
        write(handle, b"new")
        assert json.loads(command.line())["text"] == "new"
        assert command.stop(signal.SIGINT) == 130
        assert command.end() == (130, "")


def test_who_follows_the_new_does_not_see_the_old(instance: Instance, handle: Flux) -> None:
    write(handle, b"old")
    with Running(instance.env, "log", "follow", "--new", "--level", "notice") as command:
        assert command.process.stdout is not None
        while not select.select([command.process.stdout], [], [], _AGAIN_S)[0]:
            write(handle, b"new", b"<56>" + HEADER + b"only debug")
        assert command.line().endswith("new")
        assert command.stop(signal.SIGINT) == 130


def test_the_end_of_the_instance_is_an_error(folder: Path) -> None:
    env = environment(folder)
    with Running(env, "up") as up:
        uri = up.line().removeprefix("ready ")
        with Flux(uri) as handle, Running(env, "log", "follow") as command:
            write(handle, b"x")
            command.line()
            assert up.stop(signal.SIGTERM) == 0
            assert command.end() == (1, f"Error: connection to {uri} is lost: the instance hung up\n")


def test_who_has_read_enough_gets_no_error(instance: Instance, handle: Flux) -> None:
    write(handle, *[b"x" * 4000] * 100)
    with Running(instance.env, "log", "show") as command:
        command.line()
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.stderr is not None
        assert command.process.stderr.read() == ""
        assert command.process.wait() == 0
