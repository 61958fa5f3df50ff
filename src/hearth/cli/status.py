# SPDX-License-Identifier: Apache-2.0
"""`hearth status`: the instance at a glance."""

from __future__ import annotations

from datetime import timedelta

import click

from flamepy.protocol import InstanceStatus
from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.output import Column, print_json, print_table, resources_text

__all__ = ["status"]


@click.command(epilog="Example: hearth status --json | jq .pending")
@uri_option
@json_option
def status(uri: str | None, as_json: bool) -> None:
    """The instance at a glance.

    Its address, its room, and how much is waiting and running. The numbers of tasks are those of open sessions.
    """
    with open_connection(uri) as connection:
        now = connection.link.ask("flame.status", None, InstanceStatus)
    if as_json:
        print_json(now)
    else:
        print_table([Column("Instance"), Column(now.uri)], _rows(now))


def _rows(now: InstanceStatus) -> list[tuple[str, str]]:
    return [
        ("Version", now.version),
        ("PID", str(now.pid)),
        ("Uptime", str(timedelta(seconds=int(now.uptime_s)))),
        ("Capacity", resources_text(now.capacity)),
        ("Free", resources_text(now.free)),
        ("Applications", str(now.applications)),
        ("Sessions", f"{now.open_sessions} open, {now.closed_sessions} closed"),
        ("Tasks", f"{now.pending} pending, {now.running} running"),
        ("Executors", str(now.executors)),
        ("Connections", str(now.connections)),
    ]
