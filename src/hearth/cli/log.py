# SPDX-License-Identifier: Apache-2.0
"""`hearth log`: the log of the instance."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from hearth.broker.log_ring import SEVERITIES, parse_line
from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import open_bus
from hearth.cli.output import json_bytes, one_line, print_json

if TYPE_CHECKING:
    from hearth.broker.log_ring import LogLine
    from hearth.cli.bus import Bus

__all__ = ["log"]

_LEVEL_WIDTH = max(map(len, SEVERITIES))

_level_option = click.option(
    "--level", type=click.Choice(SEVERITIES), default="debug", help="Only lines as severe as this, or more."
)


@click.group(epilog="Example: hearth log follow")
def log() -> None:
    """The log of the instance: its last lines, and those to come."""


@log.command("show", epilog="Example: hearth log show --level err")
@_level_option
@bus_uri_option
@json_option
def show(level: str, uri: str | None, as_json: bool) -> None:
    """Print the lines that are kept, the oldest first.

    Each is its time, its level, the rank that wrote it, the program with its process, and the text. With --json
    each is an object on a line of its own, its time in UTC.
    """
    with open_bus(uri) as bus:
        _print_lines(bus, {"follow": False}, level, as_json=as_json)


@log.command("follow", epilog="Example: hearth log follow --new --level warning")
@click.option("--new", is_flag=True, help="Only the lines to come, not those that are kept.")
@_level_option
@bus_uri_option
@json_option
def follow(new: bool, level: str, uri: str | None, as_json: bool) -> None:
    """Print the lines that are kept, and then each new one, until Ctrl-C; see `hearth log show`."""
    with open_bus(uri) as bus:
        _print_lines(bus, {"follow": True, "nobacklog": new}, level, as_json=as_json)


@log.command("append", epilog="Example: hearth log append --level warning maintenance at noon")
@click.option("--level", type=click.Choice(SEVERITIES), default="info", show_default=True, help="How severe it is.")
@click.argument("text", nargs=-1, required=True)
@bus_uri_option
@json_option
def append(level: str, text: tuple[str, ...], uri: str | None, as_json: bool) -> None:
    """Write TEXT, its words joined by blanks, to the log; each line of it is one of the log's."""
    with open_bus(uri) as bus:
        with bus.explaining("log.append"):
            bus.handle.log(SEVERITIES.index(level), " ".join(text))
        # Nothing confirms a line. What is asked behind it is answered behind it, and to the same people.
        bus.ask("log.stats-get", None, dict[str, Any])
    if as_json:
        print_json({"level": level, "text": " ".join(text)})


@log.command("clear", epilog="Example: hearth log clear")
@bus_uri_option
@json_option
def clear(uri: str | None, as_json: bool) -> None:
    """Forget the lines that are kept."""
    with open_bus(uri) as bus:
        bus.ask("log.clear", None, type(None))
    if as_json:
        print_json({})


def _print_lines(bus: Bus, wanted: dict[str, bool], level: str, *, as_json: bool) -> None:
    least = SEVERITIES.index(level)
    for data in bus.stream("log.dmesg", wanted):
        line = parse_line(data)
        if line.severity > least:
            continue
        if as_json:
            print_json(_json_of(line))
        else:
            click.echo(_text_of(line))


def _text_of(line: LogLine) -> str:
    level = SEVERITIES[line.severity].ljust(_LEVEL_WIDTH)
    if line.time is None:
        return f"{'-':23}  {level}  {one_line(line.text)}"
    time = _time_of(line)
    local = one_line(line.time) if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]
    fields = f"{line.rank}  {line.program}[{line.pid}]"
    return f"{local:23}  {level}  {one_line(fields)}: {one_line(line.text)}"


def _json_of(line: LogLine) -> dict[str, object]:
    return {
        "time": _time_of(line),
        "level": SEVERITIES[line.severity],
        "rank": _number_of(line.rank),
        "app": line.program,
        "pid": _number_of(line.pid),
        "text": json_bytes(line.text),
    }


def _time_of(line: LogLine) -> datetime | None:
    """None where the writer put something else."""
    try:
        time = datetime.fromisoformat((line.time or "").replace("Z", "+00:00"))
        return time.astimezone(timezone.utc) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _number_of(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
