# SPDX-License-Identifier: Apache-2.0
"""What commands print: aligned tables for people, JSON for programs.

Tables are plain text of our own making. rich draws the same picture, but takes 2.3 s for ten thousand
rows and 60 ms to load, and pads the last column to the width of its longest cell, which a terminal wraps.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from hearth.text import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from enum import IntEnum

    from flamepy.core.types import Event, ResourceRequirement

__all__ = [
    "Column",
    "event_lines",
    "event_texts",
    "json_bytes",
    "one_line",
    "print_json",
    "print_json_list",
    "print_screen",
    "print_table",
    "resources_text",
    "short_text",
    "size_text",
    "state_name",
    "time_text",
]

_PAGE_ROWS = 500
_CLEAR_SCREEN = "\x1b[H\x1b[2J"
_COLOURS = {
    "Open": "green",
    "Closing": "yellow",
    "Closed": "bright_black",
    "Enabled": "green",
    "Disabled": "bright_black",
    "Pending": "yellow",
    "Running": "cyan",
    "Succeed": "green",
    "Failed": "red",
    "Cancelled": "magenta",
}


# -- JSON


def print_json(value: object) -> None:
    """One value on one line, at once. Times must be aware datetimes in UTC; they become ISO 8601."""
    stdout = sys.stdout.buffer
    stdout.write(msgspec.json.encode(value) + b"\n")
    stdout.flush()


def print_json_list(values: Iterable[object]) -> None:
    """One list, an element a line, written as the elements come."""
    stdout = sys.stdout.buffer
    separator = b"["
    for value in values:
        stdout.write(separator + msgspec.json.encode(value))
        separator = b",\n "
    stdout.write(b"]\n" if separator != b"[" else b"[]\n")
    stdout.flush()


def json_bytes(data: bytes | None) -> str | dict[str, bytes] | None:
    """Text if it is UTF-8, else ``{"base64": …}``."""
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": data}


# -- tables


class Column(NamedTuple):
    """One column of a table; numbers stand to the right."""

    title: str
    is_number: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns below a header line, nothing cut off, written page by page as the rows come.

    On a terminal states have colours, unless NO_COLOR is set.
    """
    is_coloured = _is_coloured()
    widths = [0] * len(columns)
    remaining = iter(rows)
    page = [[column.title for column in columns], *_take_page(remaining)]
    while page:
        widths = [max(width, *(len(row[at]) for row in page)) for at, width in enumerate(widths)]
        sys.stdout.writelines(_line(columns, widths, cells, is_coloured) for cells in page)
        page = _take_page(remaining)
    sys.stdout.flush()


def print_screen(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """A table in the place of the one before, on a terminal; elsewhere below it, with an empty line between."""
    sys.stdout.write(_CLEAR_SCREEN if sys.stdout.isatty() else "")
    print_table(columns, rows)
    click.echo()


def _take_page(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    return [[one_line(cell) for cell in row] for row in itertools.islice(rows, _PAGE_ROWS)]


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], is_coloured: bool) -> str:
    padded = [
        cell.rjust(width) if column.is_number else cell.ljust(width)
        for column, width, cell in zip(columns, widths, cells, strict=True)
    ]
    padded[-1] = padded[-1].rstrip()
    if is_coloured:
        padded = [
            click.style(text, fg=_COLOURS[cell]) if column.title == "State" and cell in _COLOURS else text
            for column, text, cell in zip(columns, padded, cells, strict=True)
        ]
    return "  ".join(padded) + "\n"


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# -- values for people


def one_line(value: str | bytes | None) -> str:
    """Printable text on one line: control characters are escaped, bytes that are no text are counted, None is ``-``."""
    if value is None:
        return "-"
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return f"<{len(value)} bytes>"
    return on_one_line(value)


def short_text(value: str | bytes | None, most: int) -> str:
    """`one_line`, cut to so many characters, with an ellipsis where something is missing."""
    text = one_line(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def size_text(size: float | None) -> str:
    """Bytes: ``1.5Gi``; None is ``-``."""
    if size is None:
        return "-"
    prefixes = iter(("", "Ki", "Mi", "Gi", "Ti"))
    prefix = next(prefixes)
    while size >= 1024 and (larger := next(prefixes, None)):
        size, prefix = size / 1024, larger
    return f"{round(size, 1):g}{prefix}"


def resources_text(amount: ResourceRequirement) -> str:
    """``cpu=2,mem=1.5Gi,gpu=0``."""
    return f"cpu={amount.cpu},mem={size_text(amount.memory)},gpu={amount.gpu}"


def state_name(state: IntEnum) -> str:
    """``Succeed`` for SUCCEED, as the engine's own messages have it."""
    return state.name.capitalize()


def event_texts(events: Iterable[Event]) -> list[str]:
    """``12:30:05.250: message (code)`` in local time, one an event."""
    return [
        f"{event.creation_time.astimezone():%H:%M:%S.%f}"[:-3] + f": {event.message} ({event.code})"
        for event in events
        if event.creation_time is not None
    ]


def event_lines(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Rows of a view, one for each line of each event: a service's error has its place in the program below it."""
    lines = [line for text in texts for line in text.split("\n")] or ["-"]
    return [("" if number else "Events", line) for number, line in enumerate(lines)]


def time_text(time: datetime | None) -> str:
    """Local time to the second."""
    return "-" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
