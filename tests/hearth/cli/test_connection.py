from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from flux import Flux
from tests.hearth.cli.commands import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hearth.cli.commands import Instance

RATES = ["messages_in_per_s", "messages_out_per_s", "bytes_in_per_s", "bytes_out_per_s"]


@pytest.fixture
def handle(instance: Instance) -> Iterator[Flux]:
    """A client with two services and two subscriptions."""
    with Flux(instance.uri) as handle:
        for name in ("b", "a"):
            handle.service_register(name).get()
            handle.event_subscribe(name)
        yield handle


def _ours(connections: list[Any]) -> Any:
    (ours,) = [each for each in connections if each["services"]]
    return ours


def test_connections_are_a_json_list(instance: Instance, handle: Flux) -> None:
    told = instance.json("connection", "list")
    assert len(told) == 2  # the command's own too
    ours = _ours(told)
    assert len(ours.pop("uuid")) == 36
    assert ours.pop("command")[0] == sys.orig_argv[0]
    assert ours.pop("bytes_in") > ours.pop("bytes_out") > 0
    assert ours == {
        "pid": os.getpid(),
        "userid": os.getuid(),
        "messages_in": 4,
        "messages_out": 4,
        "backlog": 0,
        "services": ["a", "b"],
        "subscriptions": 2,
    }


def test_connections_are_a_table(instance: Instance, handle: Flux) -> None:
    header, *rows = instance.run("connection", "list").stdout.splitlines()
    assert header.split("  ")[0] == "UUID"
    assert all(title in header for title in ("In", "Out", "Bytes in", "Backlog", "Subs", "Services", "Command"))
    (ours,) = [row.split() for row in rows if " a,b " in row]
    assert ours[1:5] == [str(os.getpid()), str(os.getuid()), "4", "4"]
    assert ours[7:10] == ["0", "2", "a,b"]


def test_a_watch_tells_what_moved_in_a_second(instance: Instance, handle: Flux) -> None:
    with Running(instance.env, "connection", "list", "--watch", "0.05", "--json") as command:
        first = _ours(json.loads(command.line())["connections"])
        assert {first[rate] for rate in RATES} == {None}
        while True:
            handle.rpc("broker.ping", {}).get()
            look = json.loads(command.line())
            assert look["time"].endswith("Z")
            ours = _ours(look["connections"])
            if ours["messages_in"] > first["messages_in"] and ours["messages_in_per_s"] > 0:
                break
        assert all(ours[rate] > 0 for rate in RATES)
        assert command.stop(signal.SIGINT) == 130


def test_a_watch_for_people_repeats_the_table(instance: Instance) -> None:
    with Running(instance.env, "connection", "list", "-w", "0.05") as command:
        tables = 0
        while tables < 2:
            tables += command.line().startswith("UUID ")
        assert command.stop(signal.SIGINT) == 130


def test_a_watch_whose_pipe_is_closed_ends_without_an_error(instance: Instance) -> None:
    with Running(instance.env, "connection", "list", "-w", "0.05") as command:
        command.line()
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.stderr is not None
        assert command.process.stderr.read() == ""
        assert command.process.wait() == 0
