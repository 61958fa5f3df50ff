# SPDX-License-Identifier: Apache-2.0
"""What every benchmark needs: rounds summed up, marks, the machine, a private instance, a table and a JSON file."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

import flamepy
import hearth
from flamepy.core.embedded import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Figure", "Report", "figure", "open_instance", "percentile", "print_report", "setting", "write_json"]


class Figure(msgspec.Struct):
    """One measured quantity: the median of its rounds, and the lowest and highest of them."""

    what: str
    unit: str
    median: float
    lowest: float
    highest: float
    mark: str | None = None
    is_met: bool | None = None


class Report(msgspec.Struct):
    """A benchmark's outcome. setting: machine, versions and options, as they were."""

    question: str
    setting: dict[str, str]
    figures: list[Figure]


def figure(
    what: str, unit: str, rounds: Sequence[float], *, at_least: float | None = None, at_most: float | None = None
) -> Figure:
    """Sum up rounds; with a bound, say whether their median keeps it."""
    median = statistics.median(rounds)
    result = Figure(what, unit, median, min(rounds), max(rounds))
    if at_least is not None:
        result.mark, result.is_met = f">= {at_least:g}", median >= at_least
    elif at_most is not None:
        result.mark, result.is_met = f"<= {at_most:g}", median <= at_most
    return result


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def setting(**options: object) -> dict[str, str]:
    """Machine and versions now, and the options given."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "hearth": hearth.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        **{name: str(value) for name, value in options.items()},
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def open_instance() -> Iterator[flamepy.Connection]:
    """A connection to a private instance that has done nothing yet, whatever is configured."""
    instance = Embedded()
    try:
        connection = flamepy.connect(instance.uri)
        try:
            yield connection
        finally:
            connection.close()
    finally:
        instance.stop()


def print_report(report: Report) -> None:
    """Print the table on stdout."""
    console = Console(highlight=False)
    console.print(report.question)
    facts = Table.grid("", "", padding=(0, 2))
    for name, value in report.setting.items():
        facts.add_row(name, value)
    table = Table("what")
    for column in ("median", "lowest", "highest", "mark", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.figures:
        verdict = {True: "met", False: "MISSED", None: ""}[row.is_met]
        numbers = (_written(number) for number in (row.median, row.lowest, row.highest))
        table.add_row(f"{row.what}, {row.unit}", *numbers, row.mark or "", verdict)
    console.print(facts, table)


def _written(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2f}"


def write_json(report: Report, path: Path) -> None:
    """Write it where another program finds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
