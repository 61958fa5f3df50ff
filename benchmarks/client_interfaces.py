# SPDX-License-Identifier: Apache-2.0
"""What do `Session.map` and asyncio cost a client, beside `Session.run` and `Session.invoke`?

Everything runs the same empty tasks on the same instance. Each way is measured beside the one that it is
held against, so that a busy machine hits both, and the ratio is taken in each round. Besides the rate, the
processor time of the client for each task: other processes on the machine change that little.
Run: python benchmarks/client_interfaces.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import bench
import msgspec
import uvloop

import flamepy
from flamepy import aio

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(100)
EXECUTORS = 2
SERVICE = flamepy.ApplicationAttributes(
    command=sys.executable, arguments=[str(Path(__file__).with_name("noop_service.py").resolve())]
)
Loop: TypeAlias = Callable[[Coroutine[Any, Any, "Round"]], "Round"]
LOOPS: dict[str, Loop] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


class Options(argparse.Namespace):
    """The command line."""

    tasks: int
    invocations: int
    rounds: int
    json: Path


class Way(msgspec.Struct):
    """Many tasks in one way: the rate in 1/s, and the client's processor time for each, in µs."""

    rate: float
    cpu_us: float


class Round(msgspec.Struct):
    """What one round measured on one kind of loop, and beside it."""

    ways: dict[str, Way]
    invoke_us: float


def timed(run: Callable[[int], object], tasks: int) -> Way:
    """Have so many tasks run."""
    began, cpu_began = time.perf_counter(), time.process_time()
    run(tasks)
    return Way(tasks / (time.perf_counter() - began), (time.process_time() - cpu_began) / tasks * 1e6)


async def timed_on_asyncio(run: Callable[[int], Awaitable[object]], tasks: int) -> Way:
    """The same with a coroutine."""
    began, cpu_began = time.perf_counter(), time.process_time()
    await run(tasks)
    return Way(tasks / (time.perf_counter() - began), (time.process_time() - cpu_began) / tasks * 1e6)


def median_us(marks: list[float]) -> float:
    """Between one mark and the next."""
    return bench.percentile([after - before for before, after in itertools.pairwise(marks)], 50) * 1e6


def measure_threads(session: flamepy.Session, options: Options) -> Round:
    """The interface for threads."""

    def run(tasks: int) -> None:
        for future in [session.run(DATA) for _ in range(tasks)]:
            future.result()

    ways = {
        "Session.run": timed(run, options.tasks),
        "Session.map": timed(lambda tasks: list(session.map(itertools.repeat(DATA, tasks))), options.tasks),
        "Session.map as completed": timed(
            lambda tasks: list(session.map(itertools.repeat(DATA, tasks), ordered=False)), options.tasks
        ),
    }
    marks = [time.perf_counter()]
    for _ in range(options.invocations):
        session.invoke(DATA)
        marks.append(time.perf_counter())
    return Round(ways, median_us(marks))


async def measure_asyncio(addr: str, session_id: str, options: Options) -> Round:
    """The interface for asyncio."""
    async with aio.connect(addr) as connection:
        session = await connection.get_session(session_id)

        async def gather(tasks: int) -> None:
            await asyncio.gather(*[session.run(DATA) for _ in range(tasks)])

        async def iterate(tasks: int) -> None:
            async for _ in session.map(itertools.repeat(DATA, tasks)):
                pass

        ways = {
            "gather of run": await timed_on_asyncio(gather, options.tasks),
            "map": await timed_on_asyncio(iterate, options.tasks),
        }
        marks = [time.perf_counter()]
        for _ in range(options.invocations):
            await session.invoke(DATA)
            marks.append(time.perf_counter())
        return Round(ways, median_us(marks))


def measure_rounds(options: Options) -> Iterator[dict[str, Round]]:
    """All rounds, after one that only warms up: a Round of threads and one of each loop."""
    with bench.open_instance() as connection:
        connection.register_application("noop", SERVICE)
        attributes = flamepy.SessionAttributes("noop", min_instances=EXECUTORS, max_instances=EXECUTORS)
        session = connection.create_session(attributes)
        for number in range(options.rounds + 1):
            outcome = {"threads": measure_threads(session, options)}
            for name, run in LOOPS.items():
                outcome[name] = run(measure_asyncio(connection.addr, session.id, options))
            if number:
                yield outcome
        session.close()


def figures(rounds: list[dict[str, Round]]) -> Iterator[bench.Figure]:
    """The rounds, summed up and held against the marks."""
    figure = bench.figure
    base = [one["threads"].ways["Session.run"] for one in rounds]
    for interface in rounds[0]:
        title = "" if interface == "threads" else f"{interface}, "
        for name in rounds[0][interface].ways:
            ways = [one[interface].ways[name] for one in rounds]
            yield figure(f"{title}{name}", "tasks/s", [way.rate for way in ways])
            yield figure(f"{title}{name}, client", "µs/task", [way.cpu_us for way in ways])
            if ways != base:
                cpu = [way.cpu_us / run.cpu_us for way, run in zip(ways, base, strict=True)]
                yield figure(f"{title}{name} : Session.run, client", "x", cpu, at_most=2)
        invokes = [one[interface].invoke_us for one in rounds]
        yield figure(f"{title}invoke p50", "µs", invokes)
        if interface != "threads":
            ratios = [one[interface].invoke_us / one["threads"].invoke_us for one in rounds]
            yield figure(f"{title}invoke : Session.invoke", "x", ratios, at_most=1.5)


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--tasks", type=int, default=50_000, help="tasks in each way in a round")
    parser.add_argument("--invocations", type=int, default=2_000, help="tasks one at a time in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up")
    default = Path(__file__).parent / "results" / "client_interfaces.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args(namespace=Options())
    setting = bench.setting(
        executors=EXECUTORS,
        task_bytes=len(DATA),
        tasks=options.tasks,
        invocations=options.invocations,
        rounds=options.rounds,
    )
    report = bench.Report(question, setting, list(figures(list(measure_rounds(options)))))
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
