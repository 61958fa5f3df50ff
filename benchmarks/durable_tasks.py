# SPDX-License-Identifier: Apache-2.0
"""How many empty tasks a second when each is stored before it is answered, and how soon is a daemon back?

The instance is a `hearth up` with its store on the disk, killed with SIGKILL and started again for the second
question: from the start of the process to the first answer, with so many finished and waiting tasks in its store.
Beside us, in the same rounds, what stores nothing: `ProcessPoolExecutor.submit`. And the disk's own price: an
SQLite transaction of one row in the same folder.
Run: python benchmarks/durable_tasks.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bench
import msgspec
from peers import noop, open_pool
from tasks_per_second import DATA, EXECUTORS, SERVICE, TOO_MUCH, rate, times

import flamepy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ProcessPoolExecutor

ROWS = 2000


class Options(argparse.Namespace):
    """The command line."""

    tasks: int
    invocations: int
    rounds: int
    finished: int
    waiting: int
    folder: Path | None
    json: Path


class Round(msgspec.Struct):
    """What one round measured: rates in 1/s, times in seconds."""

    durable_rate: float
    pool_rate: float
    invoke_s: float
    create_s: float
    commit_s: float


class Daemon:
    """A `hearth up` with a store."""

    def __init__(self, folder: Path) -> None:
        self._command = [sys.executable, "-m", "hearth", "up", "--rundir", str(folder / "run"), "--statedir"]
        self._command += [str(folder / "state"), "--log-level", "error"]
        self.start()

    def start(self) -> None:
        """Start it; again is the same instance."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            self.uri = stdout.readline().split()[1]

    def end(self, signum: signal.Signals) -> None:
        """End it and wait."""
        self._process.send_signal(signum)
        self._process.wait()


def commit_s(folder: Path) -> float:
    """The median seconds of a transaction of one row."""
    path = folder / "commit.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE row (key INTEGER PRIMARY KEY, data BLOB)")
        taken = times(lambda: database.execute("INSERT INTO row (data) VALUES (?)", (DATA,)), ROWS)
    path.unlink()
    return bench.percentile(taken, 50)


def measure(session: flamepy.Session, pool: ProcessPoolExecutor, folder: Path, options: Options) -> Round:
    """One round of everything, rivals side by side."""
    durable = rate(lambda: session.run(DATA), options.tasks)
    pooled = rate(lambda: pool.submit(noop, DATA), options.tasks // 3)
    invoke = bench.percentile(times(lambda: session.invoke(DATA), options.invocations), 50)
    create = bench.percentile(times(lambda: session.create_task(DATA), options.invocations), 50)
    return Round(durable, pooled, invoke, create, commit_s(folder))


def measure_rounds(daemon: Daemon, folder: Path, options: Options) -> Iterator[Round]:
    """All rounds, after one that only warms up."""
    with contextlib.closing(flamepy.connect(daemon.uri)) as connection, open_pool(EXECUTORS) as pool:
        connection.register_application("noop", SERVICE)
        attributes = flamepy.SessionAttributes("noop", min_instances=EXECUTORS, max_instances=EXECUTORS)
        session = connection.create_session(attributes)
        for number in range(options.rounds + 1):
            outcome = measure(session, pool, folder, options)
            if number:
                yield outcome
        session.close(force=True)


def restart_s(daemon: Daemon, options: Options) -> float:
    """From the start of a killed daemon's next process to its first answer, with a store that is full of tasks."""
    with contextlib.closing(flamepy.connect(daemon.uri)) as connection:
        done = connection.create_session(flamepy.SessionAttributes("noop", max_instances=EXECUTORS))
        for future in [done.run(DATA) for _ in range(options.finished)]:
            future.result()
        waits = connection.create_session(flamepy.SessionAttributes("noop", resreq=TOO_MUCH))
        for _ in range(options.waiting):
            waits.run(DATA)
        waits.create_task(DATA)
        connection.get_session(waits.id)  # what is answered is stored
        daemon.end(signal.SIGKILL)
        began = time.perf_counter()
        daemon.start()
        found = connection.get_session(done.id), connection.get_session(waits.id)
        taken = time.perf_counter() - began
        if (found[0].succeed, found[1].pending) != (options.finished, options.waiting + 1):
            raise RuntimeError(f"{found[0].succeed} finished and {found[1].pending} waiting tasks came back")
    return taken


def figures(rounds: list[Round], restarts: list[float], options: Options) -> list[bench.Figure]:
    """The rounds, summed up and held against the marks."""
    figure = bench.figure
    stored = f"{options.finished:,} finished and {options.waiting:,} waiting tasks"
    return [
        figure("Session.run, stored", "tasks/s", [one.durable_rate for one in rounds]),
        figure("pool.submit", "tasks/s", [one.pool_rate for one in rounds]),
        figure("run : submit", "x", [one.durable_rate / one.pool_rate for one in rounds], at_least=3),
        figure("Session.invoke p50, stored", "µs", [one.invoke_s * 1e6 for one in rounds]),
        figure("Session.create_task p50, stored", "µs", [one.create_s * 1e6 for one in rounds]),
        figure("SQLite transaction of one row p50", "µs", [one.commit_s * 1e6 for one in rounds]),
        figure(f"back after SIGKILL with {stored}", "s", restarts, at_most=5),
    ]


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--tasks", type=int, default=30_000, help="tasks in a round")
    parser.add_argument("--invocations", type=int, default=1000, help="single tasks in a round, one after another")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up")
    parser.add_argument("--finished", type=int, default=100_000, help="finished tasks in the store of the restart")
    parser.add_argument("--waiting", type=int, default=10_000, help="waiting tasks in the store of the restart")
    parser.add_argument("--folder", type=Path, help="where the stores go; by default a temporary folder")
    default = Path(__file__).parent / "results" / "durable_tasks.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args(namespace=Options())
    folder = Path(tempfile.mkdtemp(prefix="hearth-bench-", dir=options.folder))
    setting = bench.setting(
        tasks=options.tasks, rounds=options.rounds, executors=EXECUTORS, sqlite=sqlite3.sqlite_version
    )
    os.environ["HOME"] = str(folder)
    try:
        daemon = Daemon(folder)
        rounds = list(measure_rounds(daemon, folder, options))
        restarts = [restart_s(daemon, options)]
        daemon.end(signal.SIGTERM)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = bench.Report(question, setting, figures(rounds, restarts, options))
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
