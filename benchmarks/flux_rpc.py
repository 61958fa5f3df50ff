# SPDX-License-Identifier: Apache-2.0
"""How soon does a service answer over the bus, how many requests and events pass a second, how fast are large ones?

A request goes client, broker, service and back, so one is held against two round trips of a bare pipe;
requests in flight together and events are held against the rate of single round trips of that pipe, and
1 MiB requests against the same bytes over that pipe.
The pipe is measured as the kernel places its ends and with the ends on two cores; the marks hold
against the second, which is what processes that work at the same time have.
Run: python benchmarks/flux_rpc.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import bench
import msgspec
from peers import Pipe, open_pipe

import flux
import flux.aio
from flamepy.core.embedded import Embedded
from flux.constants import FLUX_MSGTYPE_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = "x" * 100
LARGE = bytes(1 << 20)
LARGE_CALLS = 50
IN_FLIGHT = 1024


class Options(argparse.Namespace):
    """The command line."""

    calls: int
    rounds: int
    json: Path


class Round(msgspec.Struct):
    """What one round measured: times in seconds, rates in 1/s."""

    rpc_s: float
    pipe_s: float
    apart_s: float
    pipelined: float
    gathered: float
    events: float
    large_bytes: float
    large_pipe_bytes: float


def median_s(call: Callable[[], object], calls: int) -> float:
    """The median seconds of one call."""
    times = []
    for _ in range(calls):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return bench.percentile(times, 50)


def trip(pipe: Pipe) -> None:
    """There and back, once."""
    pipe.end.send_bytes(DATA.encode())
    pipe.end.recv_bytes()


def pipelined_rate(handle: flux.Flux, calls: int) -> float:
    """Requests a second with IN_FLIGHT of them under way, answers taken by callbacks of the reactor."""
    left = {"send": calls, "answer": calls}

    def send() -> None:
        left["send"] -= 1
        handle.rpc("bench.echo", DATA).then(on_answer)

    def on_answer(answer: flux.rpc.RPC) -> None:
        assert answer.get_str() == DATA
        left["answer"] -= 1
        if left["send"]:
            send()

    began = perf_counter()
    for _ in range(min(IN_FLIGHT, calls)):
        send()
    handle.reactor_run()
    assert not left["answer"]
    return calls / (perf_counter() - began)


async def gathered_rate(uri: str, calls: int) -> float:
    """Requests a second of an asyncio handle that gathers IN_FLIGHT of them at a time."""
    async with flux.aio.Flux(uri) as handle:
        began = perf_counter()
        for _ in range(calls // IN_FLIGHT):
            await asyncio.gather(*(handle.rpc("bench.echo", DATA, answer="text") for _ in range(IN_FLIGHT)))
        return calls // IN_FLIGHT * IN_FLIGHT / (perf_counter() - began)


def event_rate(handle: flux.Flux, events: int) -> float:
    """Events a second from this handle to itself, in batches of IN_FLIGHT."""
    handle.event_subscribe("bench.event")
    began = perf_counter()
    for _ in range(events // IN_FLIGHT):
        for _ in range(IN_FLIGHT):
            handle.event_send("bench.event", DATA)
        for _ in range(IN_FLIGHT):
            handle.recv(FLUX_MSGTYPE_EVENT)
    took = perf_counter() - began
    handle.event_unsubscribe("bench.event")
    return events // IN_FLIGHT * IN_FLIGHT / took


def large_rate(handle: flux.Flux) -> float:
    """Payload bytes a second, one way, of 1 MiB requests that come back whole."""
    began = perf_counter()
    for _ in range(LARGE_CALLS):
        handle.rpc("bench.echo", LARGE).wait_for()
    return LARGE_CALLS * len(LARGE) / (perf_counter() - began)


def large_pipe_rate(pipe: Pipe) -> float:
    """The same over two trips of the bare pipe each, as the request and its answer go through the broker."""
    began = perf_counter()
    for _ in range(LARGE_CALLS):
        for _ in range(2):
            pipe.end.send_bytes(LARGE)
            pipe.end.recv_bytes()
    return LARGE_CALLS * len(LARGE) / (perf_counter() - began)


def measure(handle: flux.Flux, uri: str, pipe: Pipe, calls: int) -> Round:
    """One round of everything, rivals side by side."""
    rpc_s = median_s(lambda: handle.rpc("bench.echo", DATA).get_str(), calls // 10)
    pipe_s = median_s(lambda: trip(pipe), calls // 10)
    with pipe.on_two_cores():
        apart_s = median_s(lambda: trip(pipe), calls // 10)
    return Round(
        rpc_s,
        pipe_s,
        apart_s,
        pipelined_rate(handle, calls),
        asyncio.run(gathered_rate(uri, calls)),
        event_rate(handle, calls),
        large_rate(handle),
        large_pipe_rate(pipe),
    )


@contextlib.contextmanager
def open_service() -> Iterator[tuple[flux.Flux, str]]:
    """A handle to a private instance with the echo service on it, and its URI."""
    instance = Embedded()
    service = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("rpc_service.py"))],
        env={**os.environ, "FLUX_URI": instance.uri},
        stdout=subprocess.PIPE,
    )
    try:
        assert service.stdout is not None
        assert service.stdout.readline() == b"serving\n"
        with flux.Flux(instance.uri) as handle:
            yield handle, instance.uri
    finally:
        service.kill()
        service.communicate()
        instance.stop()


def figures(rounds: list[Round]) -> list[bench.Figure]:
    """The rounds, summed up and held against the marks."""
    figure = bench.figure
    return [
        figure("rpc round trip p50", "µs", [one.rpc_s * 1e6 for one in rounds]),
        figure("one pipe trip p50", "µs", [one.pipe_s * 1e6 for one in rounds]),
        figure("one pipe trip between two cores p50", "µs", [one.apart_s * 1e6 for one in rounds]),
        figure("rpc : two pipe trips", "x", [one.rpc_s / one.pipe_s / 2 for one in rounds]),
        figure("rpc : two pipe trips, two cores", "x", [one.rpc_s / one.apart_s / 2 for one in rounds], at_most=1.6),
        figure("pipelined", "requests/s", [one.pipelined for one in rounds]),
        figure("pipelined : pipe, two cores", "x", [one.pipelined * one.apart_s for one in rounds], at_least=5),
        figure("gathered by flux.aio", "requests/s", [one.gathered for one in rounds]),
        figure("gathered : pipe, two cores", "x", [one.gathered * one.apart_s for one in rounds]),
        figure("events to itself", "events/s", [one.events for one in rounds]),
        figure("events : pipe, two cores", "x", [one.events * one.apart_s for one in rounds], at_least=8),
        figure("1 MiB requests", "MiB/s", [one.large_bytes / 2**20 for one in rounds]),
        figure("1 MiB over two pipe trips", "MiB/s", [one.large_pipe_bytes / 2**20 for one in rounds]),
        figure("1 MiB requests : two pipe trips", "x", [one.large_bytes / one.large_pipe_bytes for one in rounds]),
    ]


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--calls", type=int, default=20_000, help="pipelined requests, and events, in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up")
    default = Path(__file__).parent / "results" / "flux_rpc.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args(namespace=Options())
    setting = bench.setting(calls=options.calls, rounds=options.rounds, in_flight=IN_FLIGHT)
    with open_service() as (handle, uri), open_pipe() as pipe:
        rounds = [measure(handle, uri, pipe, options.calls) for _ in range(options.rounds + 1)][1:]
    report = bench.Report(question, setting, figures(rounds))
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
