# SPDX-License-Identifier: Apache-2.0
"""`hearth service`: who serves what, and how fast it answers."""

from __future__ import annotations

import errno
import time

import click
import msgspec

from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import open_bus
from hearth.cli.output import Column, one_line, print_json, print_json_list, print_table
from hearth.cli.pinger import WAITING_MAX, Answer, Pinger, Plan
from hearth.cli.round_trips import RoundTrips
from hearth.cli.seconds import Seconds

__all__ = ["service"]

_COLUMNS = [
    Column("Name"),
    Column("By"),
    Column("UUID"),
    Column("PID", is_number=True),
    Column("UID", is_number=True),
]
_PAD_MAX = 16 << 20


@click.group(epilog="Example: hearth service list")
def service() -> None:
    """Services of the message plane."""


# -- list


class _Entry(msgspec.Struct):
    name: str
    builtin: bool
    uuid: str
    userid: int
    pid: int | None


class _Services(msgspec.Struct):
    services: list[_Entry]


@service.command("list", epilog="Example: hearth service list --json | jq -r '.[].name'")
@bus_uri_option
@json_option
def list_(uri: str | None, as_json: bool) -> None:
    """Every service by name, those of the instance and those that clients have registered.

    UUID is the beginning of the connection's, as in `hearth connection list`, or of the instance's own.
    """
    with open_bus(uri) as bus:
        services = bus.ask("service.list", None, _Services).services
    if as_json:
        print_json_list(services)
    else:
        print_table(_COLUMNS, map(_row_of, services))


def _row_of(entry: _Entry) -> tuple[str, ...]:
    pid = "-" if entry.pid is None else str(entry.pid)
    return entry.name, "instance" if entry.builtin else "client", entry.uuid, pid, str(entry.userid)


# -- ping


@service.command("ping", epilog="Example: hearth service ping broker --count 5 --interval 0.2")
@click.argument("name")
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N requests. [default: Ctrl-C]")
@click.option(
    "-i",
    "--interval",
    type=Seconds(may_be_none=True),
    metavar="SECONDS",
    help="From one request to the next; 0 asks again as soon as an answer is there. [default: 1]",
)
@click.option(
    "--pad", type=click.IntRange(0, _PAD_MAX), default=0, metavar="BYTES", help="Make requests so much larger."
)
@click.option("--batch", is_flag=True, help="Send all N requests at once.")
@click.option(
    "-W",
    "--timeout",
    type=Seconds(),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="An answer later than this is lost.",
)
@bus_uri_option
@json_option
def ping(
    name: str,
    count: int | None,
    interval: float | None,
    pad: int,
    batch: bool,
    timeout: float,
    uri: str | None,
    as_json: bool,
) -> None:
    """Ask NAME.ping again and again, and tell how long the answers took.

    Each answer is a line: its number, its time and the route that the request took. The last lines sum up; median
    and p99 are of the last million answers. Every built-in service answers; one of a client does if it wants to.
    With --json each answer is an object on a line of its own, and so is the summary. Fails if an answer is missing.
    """
    if batch and (count is None or count > WAITING_MAX or interval is not None):
        raise click.UsageError(f"--batch needs --count N, up to {WAITING_MAX}, and no --interval")
    told = {
        errno.ENOSYS: f"nobody answers {name}.ping: there is no service {name!r}, or it does not know ping;"
        " list them: hearth service list"
    }
    interval_s = None if batch else 1.0 if interval is None else interval
    plan = Plan(f"{name}.ping", count, interval_s, pad, timeout, told)
    report = _JsonReport(plan) if as_json else _Report(plan)
    with open_bus(uri) as bus:
        try:
            for answer in Pinger(bus, plan, report.trips).answers():
                report.tell(answer)
        except (click.ClickException, KeyboardInterrupt) as end:
            if report.trips.received or isinstance(end, KeyboardInterrupt):
                report.sum_up()
            raise
    report.sum_up()
    missing = report.trips.sent - report.trips.received
    if missing:
        raise click.ClickException(f"{missing} of {report.trips.sent} requests were not answered within {timeout:g} s")


class _Report:
    """Tells people of one plan's answers, a line each."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trips = RoundTrips()
        self._started = time.monotonic()

    @property
    def duration_s(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def tell(self, answer: Answer) -> None:
        """One answer."""
        if answer.time_s is None:
            what = f"no answer within {self.plan.timeout_s:g} s"
        else:
            what = f"time={_milliseconds(answer.time_s)} ms route={one_line(answer.route)}"
        click.echo(f"{one_line(self.plan.topic)} seq={answer.seq} {what}")

    def sum_up(self) -> None:
        """All of them."""
        trips, summary = self.trips, self.trips.summary()
        click.echo(
            f"\n{one_line(self.plan.topic)}: {trips.sent} sent, {trips.received} answered,"
            f" {trips.loss:.1%} lost, {self.duration_s:.2f} s"
        )
        if summary is not None:
            click.echo(f"{'/'.join(summary._fields)} = {'/'.join(map(_milliseconds, summary))} ms")


class _JsonReport(_Report):
    """The same for programs: an object a line."""

    def tell(self, answer: Answer) -> None:
        print_json(answer._asdict())

    def sum_up(self) -> None:
        trips, summary = self.trips, self.trips.summary()
        print_json(
            {
                "topic": self.plan.topic,
                "sent": trips.sent,
                "received": trips.received,
                "loss": trips.loss,
                "duration_s": self.duration_s,
                "time_s": None if summary is None else summary._asdict(),
            }
        )


def _milliseconds(time_s: float) -> str:
    return f"{time_s * 1000:.3f}"
