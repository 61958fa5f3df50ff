# SPDX-License-Identifier: Apache-2.0
"""With a thousand sessions open and twenty with work, does each get its computed share?

Half of the twenty ask for one CPU an executor, half for two, so equal dominant shares are twice as many executors for
the first. Tasks sleep 10 ms, so that what a session gets done follows from the executors that it has and not from this
machine's cores. The peer is arithmetic: the part of all executor time that dominant-resource fairness gives to each.
Run: python benchmarks/fair_shares.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench

import flamepy
from flamepy import ResourceRequirement, SessionAttributes

OPEN = 1000
BUSY = 20
MEMORY = 1 << 20
SLEEP_MS = 10
SERVICE = flamepy.ApplicationAttributes(
    command=sys.executable, arguments=[str(Path(__file__).with_name("sleep_service.py").resolve())]
)


class Options(argparse.Namespace):
    """The command line."""

    cpus: int
    seconds: float
    warmup: float
    json: Path


def start(folder: Path, cpus: int) -> tuple[subprocess.Popen[str], str]:
    """An instance that offers so many CPUs, whatever the machine has, and its address."""
    configuration = folder / "cluster.toml"
    configuration.write_text(f'[cluster]\ncapacity = "cpu={cpus}"\nstorage = "none"\n', encoding="utf-8")
    command = [sys.executable, "-m", "hearth", "up", "--rundir", str(folder / "run"), "--log-level", "error"]
    daemon = subprocess.Popen([*command, "--config", str(configuration)], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    return daemon, daemon.stdout.readline().split()[1]


def done(connection: flamepy.Connection, sessions: list[flamepy.Session]) -> list[int]:
    """How many tasks of each have been done."""
    return [connection.get_session(session.id).succeed for session in sessions]


def deviations(uri: str, options: Options) -> list[float]:
    """For each busy session: what it got done over what its share of all would be, minus one."""
    with contextlib.closing(flamepy.connect(uri)) as connection:
        connection.register_application("sleep", SERVICE)
        sizes = [1 + number % 2 for number in range(BUSY)]
        resources = [ResourceRequirement(cpu=size, memory=MEMORY) for size in sizes]
        busy = [connection.create_session(SessionAttributes("sleep", resreq=each)) for each in resources]
        for _ in range(OPEN - BUSY):
            connection.create_session(SessionAttributes("sleep", resreq=ResourceRequirement(cpu=1, memory=MEMORY)))
        enough = int((options.seconds + options.warmup) / SLEEP_MS * 1000 * options.cpus / BUSY * 2)
        for session in busy:
            for _ in range(enough):
                session.run(b"%d" % SLEEP_MS)
        time.sleep(options.warmup)
        before = done(connection, busy)
        time.sleep(options.seconds)
        got = [after - then for then, after in zip(before, done(connection, busy), strict=True)]
    weights = [1 / size for size in sizes]  # equal CPUs, so the fewer a task holds the more are done
    return [part / sum(got) / (weight / sum(weights)) - 1 for part, weight in zip(got, weights, strict=True)]


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--cpus", type=int, default=60, help="what the instance offers; three for each busy session")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to count")
    parser.add_argument("--warmup", type=float, default=5.0, help="seconds before")
    default = Path(__file__).parent / "results" / "fair_shares.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args(namespace=Options())
    folder = Path(tempfile.mkdtemp(prefix="hearth-bench-"))
    os.environ["HOME"] = str(folder)
    setting = bench.setting(open=OPEN, busy=BUSY, cpus=options.cpus, seconds=options.seconds)
    daemon, uri = start(folder, options.cpus)
    try:
        off = [abs(each) * 100 for each in deviations(uri, options)]
    finally:
        daemon.terminate()
        daemon.communicate()
        shutil.rmtree(folder, ignore_errors=True)
    figures = [
        bench.figure("off the computed share, the most of all", "%", [max(off)], at_most=5),
        bench.figure("off the computed share", "%", off),
    ]
    report = bench.Report(question, setting, figures)
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
