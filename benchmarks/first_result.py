# SPDX-License-Identifier: Apache-2.0
"""How soon does a new session of a Python service give its first result?

On an instance that is up, from `create_session` to the end of the first `invoke`: with the service forked from the
fork server, and with its interpreter started anew. Beside us, in the same rounds: an interpreter that starts and
does nothing, and the first result of a new `ProcessPoolExecutor` of one process, which multiprocessing's own fork
server forks. Each is measured alone, when what was before it has ended.
Run: python benchmarks/first_result.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bench
import msgspec
from peers import first_result_of_a_pool, start_and_end_python

import flamepy
from flamepy.protocol import ExecutorList

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = bytes(100)
SERVICE = str(Path(__file__).with_name("noop_service.py").resolve())
FORKED = flamepy.ApplicationAttributes(command=sys.executable, arguments=[SERVICE])
EXECUTED = flamepy.ApplicationAttributes(command=sys.executable, arguments=["-u", SERVICE])
"""An option of the interpreter counts when it starts, so it is; this one changes nothing else here."""


class Options(argparse.Namespace):
    """The command line."""

    sessions: int
    rounds: int
    json: Path


class Round(msgspec.Struct):
    """The seconds of each."""

    forked_s: list[float]
    executed_s: list[float]
    python_s: list[float]
    pool_s: list[float]


def seconds_of(call: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def first_result_s(connection: flamepy.Connection, application: str) -> float:
    """Of a new session, which is closed then, and its executor gone."""
    attributes = flamepy.SessionAttributes(application, max_instances=1)
    began = time.perf_counter()
    session = connection.create_session(attributes)
    session.invoke(DATA)
    took = time.perf_counter() - began
    session.close()
    while connection.link.ask("flame.executor.list", None, ExecutorList).executors:
        time.sleep(0.005)
    return took


def measure(connection: flamepy.Connection, sessions: int) -> Round:
    """One round of everything."""
    return Round(
        [first_result_s(connection, "forked") for _ in range(sessions)],
        [first_result_s(connection, "executed") for _ in range(sessions)],
        [seconds_of(start_and_end_python) for _ in range(sessions)],
        [seconds_of(lambda: first_result_of_a_pool(DATA)) for _ in range(sessions)],
    )


def measure_rounds(options: Options) -> list[Round]:
    """All rounds, after one that only warms up."""
    with bench.open_instance() as connection:
        connection.register_application("forked", FORKED)
        connection.register_application("executed", EXECUTED)
        return [measure(connection, options.sessions) for _ in range(options.rounds + 1)][1:]


def figures(rounds: list[Round]) -> list[bench.Figure]:
    """The rounds, summed up and held against the marks."""
    figure = bench.figure
    forked, executed, python, pool = (
        [bench.percentile(getattr(one, name), 50) * 1e3 for one in rounds]
        for name in ("forked_s", "executed_s", "python_s", "pool_s")
    )
    return [
        figure("forked p50", "ms", forked, at_most=30),
        figure("executed p50", "ms", executed, at_most=150),
        figure("python -c pass p50", "ms", python),
        figure("new pool's first result p50", "ms", pool),
        figure("executed : python -c pass", "x", _ratios(executed, python)),
        figure("forked : new pool", "x", _ratios(forked, pool)),
    ]


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--sessions", type=int, default=15, help="sessions of each kind in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up")
    default = Path(__file__).parent / "results" / "first_result.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args(namespace=Options())
    setting = bench.setting(sessions=options.sessions, rounds=options.rounds)
    report = bench.Report(question, setting, figures(measure_rounds(options)))
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
