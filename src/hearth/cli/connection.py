# SPDX-License-Identifier: Apache-2.0
"""`hearth connection`: who is connected to the instance."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import open_bus
from hearth.cli.output import Column, print_json, print_json_list, print_screen, print_table, short_text, size_text
from hearth.cli.seconds import Seconds

if TYPE_CHECKING:
    from hearth.cli.bus import Bus

__all__ = ["connection"]

_SHORT_ID = 8  # as in the route of a ping
_COMMAND_MAX = 50

_FRONT = [Column("UUID"), *(Column(title, is_number=True) for title in ("PID", "UID"))]
_COUNTS = [Column(title, is_number=True) for title in ("In", "Out", "Bytes in", "Bytes out")]
_RATES = [Column(title, is_number=True) for title in ("In/s", "Out/s", "Bytes in/s", "Bytes out/s")]
_BACK = [Column("Backlog", is_number=True), Column("Subs", is_number=True), Column("Services"), Column("Command")]


class _Client(msgspec.Struct):
    """One connection as the broker tells it, which sends tx and receives rx. Flux tells no more than rxbacklog."""

    uuid: str
    userid: int
    pid: int
    txcount: int
    rxcount: int
    rxbacklog: int
    txbytes: int | None = None
    rxbytes: int | None = None
    services: list[str] | None = None
    subscriptions: int | None = None

    @property
    def counts(self) -> tuple[int | None, ...]:
        """Messages in and out, bytes in and out."""
        return self.rxcount, self.txcount, self.rxbytes, self.txbytes


class _Server(msgspec.Struct):
    clients: list[_Client]


class _Stats(msgspec.Struct):
    server: _Server


class _Sample(NamedTuple):
    """What was told at one time, on the monotonic clock."""

    taken_s: float
    clients: list[_Client]

    def rates(self, before: _Sample | None) -> dict[str, tuple[float | None, ...]]:
        """By uuid, what moved in a second since another sample; of a connection that was there then."""
        if before is None:
            return {}
        span_s = self.taken_s - before.taken_s
        old = {client.uuid: client.counts for client in before.clients}
        pairs = ((client.uuid, zip(client.counts, old.get(client.uuid, ()), strict=False)) for client in self.clients)
        return {
            uuid: tuple(None if now is None or then is None else (now - then) / span_s for now, then in counts)
            for uuid, counts in pairs
        }


@click.group(epilog="Example: hearth connection list")
def connection() -> None:
    """Connections: who talks to the instance, and how much."""


@connection.command("list", epilog="Example: hearth connection list --watch 2")
@click.option(
    "-w",
    "--watch",
    type=Seconds(),
    metavar="SECONDS",
    help="List them again and again until Ctrl-C, with what moved in a second.",
)
@bus_uri_option
@json_option
def list_(watch: float | None, uri: str | None, as_json: bool) -> None:
    """Every connection, this command's among them.

    In is what the instance got from the connection, Out what it sent there, Backlog what it could not send yet,
    Subs the number of topics listened to. The command line is shown where /proc has it. With --watch --json each
    look is an object on a line of its own.
    """
    with open_bus(uri) as bus:
        if watch is not None:
            _watch(bus, watch, as_json=as_json)
        clients = _ask(bus).clients
    if as_json:
        print_json_list(map(_json_of, clients))
    else:
        print_table([*_FRONT, *_COUNTS, *_BACK], ((*_front(each), *_counts(each), *_back(each)) for each in clients))


def _ask(bus: Bus) -> _Sample:
    clients = bus.ask("connector-local.stats-get", None, _Stats).server.clients
    return _Sample(time.monotonic(), sorted(clients, key=lambda client: (client.pid, client.uuid)))


def _watch(bus: Bus, period_s: float, *, as_json: bool) -> None:
    """Never returns: Ctrl-C, a closed pipe or the end of the instance end it."""
    before = None
    show = _print_json if as_json else _print_screen
    while True:
        sample = _ask(bus)
        show(sample.clients, sample.rates(before))
        before = sample
        time.sleep(period_s)


def _print_screen(clients: list[_Client], rates: dict[str, tuple[float | None, ...]]) -> None:
    rows = ((*_front(each), *_rate_texts(rates.get(each.uuid, ())), *_back(each)) for each in clients)
    print_screen([*_FRONT, *_RATES, *_BACK], rows)


def _print_json(clients: list[_Client], rates: dict[str, tuple[float | None, ...]]) -> None:
    names = ("messages_in_per_s", "messages_out_per_s", "bytes_in_per_s", "bytes_out_per_s")
    listed = [
        {**_json_of(each), **dict.fromkeys(names), **dict(zip(names, rates.get(each.uuid, ()), strict=False))}
        for each in clients
    ]
    print_json({"time": datetime.now(timezone.utc), "connections": listed})


def _json_of(client: _Client) -> dict[str, object]:
    return {
        "uuid": client.uuid,
        "pid": client.pid,
        "userid": client.userid,
        "command": _command_of(client.pid),
        "messages_in": client.rxcount,
        "messages_out": client.txcount,
        "bytes_in": client.rxbytes,
        "bytes_out": client.txbytes,
        "backlog": client.rxbacklog,
        "services": client.services,
        "subscriptions": client.subscriptions,
    }


def _front(client: _Client) -> tuple[str, ...]:
    return client.uuid[:_SHORT_ID], str(client.pid), str(client.userid)


def _counts(client: _Client) -> tuple[str, ...]:
    return str(client.rxcount), str(client.txcount), size_text(client.rxbytes), size_text(client.txbytes)


def _rate_texts(rates: tuple[float | None, ...]) -> tuple[str, ...]:
    if not rates:
        return ("-",) * len(_RATES)
    messages = ("-" if rate is None else f"{rate:.0f}" for rate in rates[:2])
    return (*messages, *map(size_text, rates[2:]))


def _back(client: _Client) -> tuple[str, ...]:
    services = "-" if client.services is None else ",".join(client.services) or "-"
    subscriptions = "-" if client.subscriptions is None else str(client.subscriptions)
    command = _command_of(client.pid)
    shown = "-" if command is None else short_text(" ".join(command), _COMMAND_MAX)
    return str(client.rxbacklog), subscriptions, services, shown


def _command_of(pid: int) -> list[str] | None:
    """The command line of a process; None if it has ended, or is not of this machine or not to be seen."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read()
    except OSError:
        return None
    return [word.decode(errors="replace") for word in line.removesuffix(b"\0").split(b"\0")] if line else None
