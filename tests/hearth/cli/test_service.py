from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from flux import Flux
from flux.constants import FLUX_MSGTYPE_REQUEST, FLUX_RPC_NORESPONSE
from tests.hearth.cli.commands import Running, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from flux.message import Message
    from tests.hearth.cli.commands import Instance

    Answer: TypeAlias = Callable[[Flux, Message], object]

WAIT_S = 20.0
ANSWER = re.compile(r"broker\.ping seq=(\d+) time=\d+\.\d{3} ms route=\w{8}!\w{8}!\w{8}")
SUMMARY = re.compile(r"min/avg/median/p99/max = [\d.]+/[\d.]+/[\d.]+/[\d.]+/[\d.]+ ms")


class Service:
    """The service sums: a client that answers pings as it is told to, in a thread of its own, until asked to end."""

    def __init__(self, uri: str, answer: Answer) -> None:
        self._uri, self._answer = uri, answer
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Service:
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def _serve(self) -> None:
        with Flux(self._uri) as handle:
            handle.service_register("sums").get()
            self._ready.set()
            while (message := handle.recv(FLUX_MSGTYPE_REQUEST)).topic != "sums.end":
                if message.topic == "sums.ping":
                    self._answer(handle, message)

    def __exit__(self, *_: object) -> None:
        with Flux(self._uri) as handle:
            handle.rpc("sums.end", flags=FLUX_RPC_NORESPONSE)
        self._thread.join(WAIT_S)


@pytest.fixture
def serve(instance: Instance) -> Iterator[Callable[[Answer], Service]]:
    """Start the service sums with an answer to ping."""
    with contextlib.ExitStack() as stack:
        yield lambda answer: stack.enter_context(Service(instance.uri, answer))


def test_each_answer_is_a_line_and_the_last_ones_sum_up(instance: Instance) -> None:
    told = instance.run("service", "ping", "broker", "-c", "3", "-i", "0.01", "--pad", "1000")
    assert (told.returncode, told.stderr) == (0, "")
    *answers, empty, counts, times = told.stdout.splitlines()
    assert [match[1] for match in map(ANSWER.fullmatch, answers) if match] == ["0", "1", "2"]
    assert empty == ""
    assert re.fullmatch(r"broker\.ping: 3 sent, 3 answered, 0\.0% lost, [\d.]+ s", counts)
    assert SUMMARY.fullmatch(times)


@pytest.mark.parametrize("pace", [["-i", "0"], ["--batch"]], ids=" ".join)
def test_answers_and_summary_are_json_objects(instance: Instance, pace: list[str]) -> None:
    told = instance.run("service", "ping", "attr", "-c", "500", "--json", *pace)
    *answers, summary = map(json.loads, told.stdout.splitlines())
    assert [answer["seq"] for answer in answers] == list(range(500))
    assert {len(answer["route"]) for answer in answers} == {26}
    assert (summary["topic"], summary["sent"], summary["received"], summary["loss"]) == ("attr.ping", 500, 500, 0)
    assert summary["time_s"]["min"] == min(answer["time_s"] for answer in answers)
    assert summary["time_s"]["max"] == max(answer["time_s"] for answer in answers)
    assert list(summary["time_s"]) == ["min", "avg", "median", "p99", "max"]
    assert summary["duration_s"] > 0


def test_ctrl_c_ends_it_with_the_summary(instance: Instance) -> None:
    with Running(instance.env, "service", "ping", "broker", "-i", "0.01") as command:
        for seq in range(3):
            assert f"seq={seq} " in command.line()
        assert command.stop(signal.SIGINT) == 130
        assert command.process.stdout is not None
        assert SUMMARY.fullmatch(command.process.stdout.read().splitlines()[-1])


def test_a_service_that_is_not_there_is_one_clear_error(instance: Instance) -> None:
    assert instance.refusal("service", "ping", "nobody") == (
        "nobody answers nobody.ping: there is no service 'nobody', or it does not know ping;"
        " list them: hearth service list"
    )


def test_a_service_that_knows_no_ping_is_the_same_error(instance: Instance, serve: Callable[[Answer], Service]) -> None:
    serve(lambda handle, message: handle.respond_error(message, errno.ENOSYS, "what?"))
    assert instance.refusal("service", "ping", "sums").startswith("nobody answers sums.ping:")


def test_what_else_a_service_refuses_is_told(instance: Instance, serve: Callable[[Answer], Service]) -> None:
    serve(lambda handle, message: handle.respond_error(message, errno.EAGAIN, "not\nnow"))
    assert instance.refusal("service", "ping", "sums") == "sums.ping: not\\nnow"


@pytest.mark.parametrize(
    ("payload", "route"), [(None, None), ("no json", None), ({"route": 5}, None), ({"route": "x"}, "x")]
)
def test_a_client_may_answer_as_it_likes(
    instance: Instance,
    serve: Callable[[Answer], Service],
    payload: object,
    route: str | None,
) -> None:
    serve(lambda handle, message: handle.respond(message, payload))
    told = instance.run("service", "ping", "sums", "-c", "1", "--json")
    answer, summary = map(json.loads, told.stdout.splitlines())
    assert (answer["route"], summary["received"]) == (route, 1)


def test_what_is_not_answered_in_time_is_lost(instance: Instance, serve: Callable[[Answer], Service]) -> None:
    def answer_even_ones(handle: Flux, message: Message) -> None:
        if message.payload["seq"] % 2 == 0:
            handle.respond(message, message.payload)

    serve(answer_even_ones)
    told = instance.run("service", "ping", "sums", "-c", "4", "--batch", "--timeout", "0.3")
    assert told.returncode == 1
    assert told.stderr == "Error: 2 of 4 requests were not answered within 0.3 s\n"
    assert "sums.ping seq=3 no answer within 0.3 s\n" in told.stdout
    assert "4 sent, 2 answered, 50.0% lost" in told.stdout


def test_the_end_of_the_pinged_service_is_told_and_summed_up(
    instance: Instance, serve: Callable[[Answer], Service]
) -> None:
    def answer(handle: Flux, message: Message) -> None:
        handle.respond(message, message.payload)
        if message.payload["seq"] == 2:
            handle.rpc("sums.end", flags=FLUX_RPC_NORESPONSE)

    serve(answer)
    told = instance.run("service", "ping", "sums", "-i", "0.02")
    assert (told.returncode, told.stderr.startswith("Error: nobody answers sums.ping")) == (1, True)
    assert "3 answered" in told.stdout


@pytest.mark.parametrize("interval", ["0", "0.02", "1"])
def test_the_end_of_the_instance_is_told_and_summed_up(folder: Path, interval: str) -> None:
    env = environment(folder)
    with Running(env, "up") as up:
        uri = up.line().removeprefix("ready ")
        with Running(env, "service", "ping", "broker", "-i", interval) as command:
            assert ANSWER.fullmatch(command.line())
            assert up.stop(signal.SIGTERM) == 0
            assert command.process.stdout is not None
            assert SUMMARY.fullmatch(command.process.stdout.read().splitlines()[-1])
            assert command.end() == (1, f"Error: connection to {uri} is lost: the instance hung up\n")


def test_who_has_read_enough_gets_no_error(instance: Instance) -> None:
    with Running(instance.env, "service", "ping", "broker", "-i", "0") as command:
        command.line()
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.stderr is not None
        assert command.process.stderr.read() == ""
        assert command.process.wait() == 0


def test_services_are_a_table(instance: Instance) -> None:
    with Flux(instance.uri) as handle:
        handle.service_register("sums").get()
        lines = instance.run("service", "list").stdout.splitlines()
    assert lines[0].split() == ["Name", "By", "UUID", "PID", "UID"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["sums"][0::2] == ["client", str(os.getpid())]
    assert rows["flame"][0::2] == ["instance", str(instance.command.process.pid)]


def test_services_are_a_json_list(instance: Instance) -> None:
    with Flux(instance.uri) as handle:
        handle.service_register("sums").get()
        told = {each["name"]: each for each in instance.json("service", "list")}
    assert list(told) == sorted(told)
    assert told["sums"].pop("uuid") != told["attr"]["uuid"]
    assert told["sums"] == {"name": "sums", "builtin": False, "userid": os.getuid(), "pid": os.getpid()}
