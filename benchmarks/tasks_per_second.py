# SPDX-License-Identifier: Apache-2.0
"""How many empty tasks a second, how soon is one answered, and what does a queued one weigh?

Beside us, in the same rounds: `ProcessPoolExecutor.submit`, and the bare pipe that nobody can beat. A
task goes through three processes (client, daemon, executor), so one task is held against two round
trips of a pipe. Both sides of each ratio are measured one right after the other, so that a busy machine
hits both; the ratio is taken in each round. A pipe is two to three times faster when both its ends run
on one core, and where they run is the kernel's choice, so the pipe is measured twice: as the kernel
places it, and with its ends on two cores, as processes are that have work to do at the same time.
Run: python benchmarks/tasks_per_second.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bench
import msgspec
import psutil
from peers import Pipe, noop, open_pipe, open_pool

import flamepy
from flamepy.protocol import InstanceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.connection import Connection

DATA = bytes(100)
EXECUTORS = 2
POOL_SHARE = 5  # the pool gets a fifth of the tasks, and still takes longer: the measure is a rate
QUEUED_TASKS = 100_000
TOO_MUCH = flamepy.ResourceRequirement(cpu=1, memory=1 << 60)  # fits no machine: tasks stay queued
SERVICE = flamepy.ApplicationAttributes(
    command=sys.executable, arguments=[str(Path(__file__).with_name("noop_service.py").resolve())]
)


class Options(argparse.Namespace):
    """The command line."""

    tasks: int
    invocations: int
    rounds: int
    json: Path


class Round(msgspec.Struct):
    """What one round measured: rates in 1/s, times in seconds."""

    session_rate: float
    pool_rate: float
    invoke_s: list[float]
    pipe_s: list[float]
    apart_s: list[float]
    """As pipe_s, its two ends on two cores."""


def rate(submit: Callable[[], Future[bytes | None]] | Callable[[], Future[bytes]], tasks: int) -> float:
    """Tasks a second, from the first submission to the last result."""
    began = time.perf_counter()
    futures = [submit() for _ in range(tasks)]
    for future in futures:
        assert future.result() == DATA
    return tasks / (time.perf_counter() - began)


def times(call: Callable[[], object], calls: int) -> list[float]:
    """The seconds of each call."""
    marks = [time.perf_counter()]
    for _ in range(calls):
        call()
        marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)]


def two_trips(pipe: Connection) -> None:
    """There and back, twice."""
    for _ in range(2):
        pipe.send_bytes(DATA)
        pipe.recv_bytes()


def measure(session: flamepy.Session, pool: ProcessPoolExecutor, pipe: Pipe, tasks: int, invocations: int) -> Round:
    """One round of everything, each pair of rivals side by side."""
    session_rate = rate(lambda: session.run(DATA), tasks)
    pool_rate = rate(lambda: pool.submit(noop, DATA), tasks // POOL_SHARE)
    invoke_s = times(lambda: session.invoke(DATA), invocations)
    pipe_s = times(lambda: two_trips(pipe.end), invocations)
    with pipe.on_two_cores():
        apart_s = times(lambda: two_trips(pipe.end), invocations)
    return Round(session_rate, pool_rate, invoke_s, pipe_s, apart_s)


def measure_rounds(options: Options) -> Iterator[Round]:
    """All rounds, after one that only warms up."""
    with bench.open_instance() as connection, open_pool(EXECUTORS) as pool, open_pipe() as pipe:
        connection.register_application("noop", SERVICE)
        attributes = flamepy.SessionAttributes("noop", min_instances=EXECUTORS, max_instances=EXECUTORS)
        session = connection.create_session(attributes)
        for number in range(options.rounds + 1):
            outcome = measure(session, pool, pipe, options.tasks, options.invocations)
            if number:
                yield outcome
        session.close()


def queued_growth_bytes() -> float:
    """How much a fresh daemon grows with QUEUED_TASKS tasks waiting."""
    with bench.open_instance() as connection:
        connection.register_application("noop", SERVICE)
        session = connection.create_session(flamepy.SessionAttributes("noop", resreq=TOO_MUCH))
        daemon = psutil.Process(connection.link.ask("flame.status", None, InstanceStatus).pid)
        before: int = daemon.memory_info().rss
        for _ in range(QUEUED_TASKS):
            session.run(DATA)
        connection.link.flush()  # what is sent before a request is handled before it
        pending = connection.get_session(session.id).pending
        if pending != QUEUED_TASKS:
            raise RuntimeError(f"{pending} tasks are queued, want {QUEUED_TASKS}")
        after: int = daemon.memory_info().rss
        session.close()
        return after - before


def figures(rounds: list[Round], growth_bytes: float) -> list[bench.Figure]:
    """The rounds and the memory, summed up and held against the marks."""
    figure = bench.figure
    invoke_us = [bench.percentile(one.invoke_s, 50) * 1e6 for one in rounds]
    slowest_us = [bench.percentile(one.invoke_s, 99) * 1e6 for one in rounds]
    pipe_us = [bench.percentile(one.pipe_s, 50) * 1e6 for one in rounds]
    apart_us = [bench.percentile(one.apart_s, 50) * 1e6 for one in rounds]
    growth = [growth_bytes / 2**20]
    return [
        figure("Session.run", "tasks/s", [one.session_rate for one in rounds]),
        figure("pool.submit", "tasks/s", [one.pool_rate for one in rounds]),
        figure("run : submit", "x", [one.session_rate / one.pool_rate for one in rounds], at_least=4),
        figure("Session.invoke p50", "µs", invoke_us),
        figure("Session.invoke p99", "µs", slowest_us),
        figure("two pipe trips p50", "µs", pipe_us),
        figure("invoke : two pipe trips", "x", _ratios(invoke_us, pipe_us), at_most=2),
        figure("two pipe trips between two cores p50", "µs", apart_us),
        figure("invoke : two pipe trips between two cores", "x", _ratios(invoke_us, apart_us), at_most=2),
        figure(f"daemon, {QUEUED_TASKS:,} queued", "MiB", growth, at_most=150),
    ]


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--tasks", type=int, default=50_000, help="tasks through Session.run in a round")
    parser.add_argument("--invocations", type=int, default=2_000, help="tasks one at a time in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up")
    default = Path(__file__).parent / "results" / "tasks_per_second.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args(namespace=Options())
    setting = bench.setting(
        executors=EXECUTORS,
        task_bytes=len(DATA),
        tasks=options.tasks,
        invocations=options.invocations,
        rounds=options.rounds,
    )
    growth_bytes = queued_growth_bytes()
    report = bench.Report(question, setting, figures(list(measure_rounds(options)), growth_bytes))
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
