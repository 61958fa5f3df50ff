# SPDX-License-Identifier: Apache-2.0
"""The tables at the end of the census. Used by client.py."""

from __future__ import annotations

import sysconfig
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from census import Census

__all__ = ["Timing", "print_report"]

_SHOWN = 10


class Timing(msgspec.Struct):
    """What the tasks took. Seconds until the first and the last answer, from nothing running."""

    first_s: float
    last_s: float
    executors: int


def print_report(taken: Mapping[Path, Census], timing: Timing, alone_s: float) -> None:
    """Print the tables on stdout. alone_s is what the same took in one process."""
    console = Console(highlight=False)
    for table in (_imports(taken), _longest(taken), _speed(taken, timing, alone_s)):
        console.print(table)


def _table(title: str, *columns: str) -> Table:
    """An empty table: words on the left, numbers on the right of them."""
    table = Table(title=title, title_justify="left", min_width=60)
    for column in columns:
        table.add_column(column, justify="right" if column in ("files", "lines", "") else "left")
    return table


def _imports(taken: Mapping[Path, Census]) -> Table:
    counts = Counter(module for census in taken.values() for module in census.imports)
    table = _table("Most imported modules", "module", "files")
    for module, files in counts.most_common(_SHOWN):
        table.add_row(module, f"{files:,}")
    return table


def _longest(taken: Mapping[Path, Census]) -> Table:
    root = sysconfig.get_path("stdlib")
    functions = [(census.longest, path) for path, census in taken.items() if census.longest]
    table = _table("Longest functions, one a file", "function", "file", "lines")
    for function, path in sorted(functions, reverse=True)[:_SHOWN]:
        table.add_row(function.name, str(path.relative_to(root)), f"{function.lines:,}")
    return table


def _speed(taken: Mapping[Path, Census], timing: Timing, alone_s: float) -> Table:
    found = taken.values()
    table = _table("The census", "what", "")
    table.show_header = False
    rows = {
        "files": f"{len(taken):,}",
        "lines": f"{sum(census.lines for census in found):,}",
        "functions": f"{sum(census.functions for census in found):,}",
        "classes": f"{sum(census.classes for census in found):,}",
        "files that do not parse": f"{sum(census.error is not None for census in found):,}",
        "executors used": f"{timing.executors}",
        "first answer, start included": f"{timing.first_s:.2f} s",
        "last answer, start included": f"{timing.last_s:.2f} s",
        "the same in one process": f"{alone_s:.2f} s",
        "files/s": f"{len(taken) / timing.last_s:,.0f}",
        "files/s in one process": f"{len(taken) / alone_s:,.0f}",
        "speedup": f"{alone_s / timing.last_s:.2f} x",
    }
    for what, value in rows.items():
        table.add_row(what, value)
    return table
