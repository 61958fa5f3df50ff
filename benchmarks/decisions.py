# SPDX-License-Identifier: Apache-2.0
"""How long does it take to decide who gets the executors, with 1,000 sessions open?

One decision is one step of the engine alone: no socket, no process. There is no peer that does the
same, so each figure is held against a bound. Run: python benchmarks/decisions.py
"""  # noqa: D400 (a question)

from __future__ import annotations

import argparse
import time
from pathlib import Path

import bench

from flamepy.core.types import ApplicationAttributes
from flamepy.protocol import CompletionBatch, SessionSpec
from hearth.engine.actions import EnterSession, KillExecutor, LaunchExecutor
from hearth.engine.engine import Engine
from hearth.engine.model import Resources

OPEN = 1000
TASKS = 1000


def carry_out(engine: Engine, now: float) -> None:
    """Steps until nothing more is wanted; every process starts and enters at once, and works for ever."""
    while actions := engine.step(now):
        for action in actions:
            match action:
                case LaunchExecutor(executor) if executor.id in engine.state.executors:
                    engine.executors.attached(executor.id, now)
                case EnterSession(executor):
                    engine.executors.report(executor, CompletionBatch(executor.id, entered=True), now)
                case KillExecutor(executor):
                    engine.executors.exited(executor.id, "was killed", now)
                case _:
                    pass


def crowded(slots: int, busy: int) -> Engine:
    """An instance of so many slots with OPEN sessions, of which so many have work."""
    engine = Engine(Resources(slots, slots << 30, 0))
    engine.applications.register("app", ApplicationAttributes(command="x"), 0.0)
    for number in range(OPEN):
        engine.sessions.create(str(number), SessionSpec("app"), number / OPEN)
    for number in range(busy):
        engine.tasks.submit(str(number), [b""] * TASKS, None, 1, 1.0)
    carry_out(engine, 1.0)
    return engine


def measure(slots: int, busy: int, decisions: int, rounds: int) -> list[float]:
    """Microseconds a decision, in each round."""
    engine = crowded(slots, busy)
    means: list[float] = []
    now = 1.0
    for _ in range(rounds + 1):
        began = time.perf_counter()
        for _ in range(decisions):
            now += 0.1
            engine.state.is_placement_due = True
            carry_out(engine, now)
        means.append((time.perf_counter() - began) / decisions * 1e6)
    return means[1:]  # the first one warms up


def main() -> None:
    """Measure, print, write."""
    question = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--decisions", type=int, default=300, help="decisions in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one to warm up")
    default = Path(__file__).parent / "results" / "decisions.json"
    parser.add_argument("--json", type=Path, default=default, metavar="PATH", help="where the figures go")
    options = parser.parse_args()
    setting = bench.setting(open_sessions=OPEN, decisions=options.decisions, rounds=options.rounds)
    figures = []
    for busy, slots, most_us in ((1, 8, 1000), (20, 8, 1000), (20, 100, 1000), (OPEN, 100, 20_000)):
        rounds = measure(slots, busy, options.decisions, options.rounds)
        figures.append(bench.figure(f"{busy} with work, {slots} slots", "µs", rounds, at_most=most_us))
    report = bench.Report(question, setting, figures)
    bench.print_report(report)
    bench.write_json(report, options.json)


if __name__ == "__main__":
    main()
