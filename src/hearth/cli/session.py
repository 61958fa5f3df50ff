# SPDX-License-Identifier: Apache-2.0
"""`hearth session`: sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flamepy.core.convert import event_of, time_of
from flamepy.protocol import SessionList
from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.instance_logs import print_logs
from hearth.cli.output import Column, print_json_list, print_table, resources_text, state_name, time_text

if TYPE_CHECKING:
    from flamepy.protocol import SessionInfo

__all__ = ["session"]

_COLUMNS = [
    Column("ID"),
    Column("State"),
    Column("App"),
    Column("Resources"),
    Column("Pending", is_number=True),
    Column("Running", is_number=True),
    Column("Succeed", is_number=True),
    Column("Failed", is_number=True),
    Column("Cancelled", is_number=True),
    Column("Created"),
]


@click.group(epilog="Example: hearth session list")
def session() -> None:
    """Sessions, open and closed."""


@session.command("list", epilog="Example: hearth session list --json | jq -r '.[].id'")
@uri_option
@json_option
def list_(uri: str | None, as_json: bool) -> None:
    """Every session, open ones first, then by age."""
    with open_connection(uri) as connection:
        sessions = connection.link.ask("flame.session.list", None, SessionList).sessions
    sessions.sort(key=lambda info: (info.state, info.creation_time_ms))
    if as_json:
        print_json_list(map(_json_of, sessions))
    else:
        print_table(_COLUMNS, map(_row_of, sessions))


@session.command("logs", epilog="Example: hearth session logs flmping-x7Qa2b")
@click.argument("session_id", metavar="SESSION")
@click.option("--executor", metavar="ID", help="Of this instance only.")
@uri_option
@json_option
def logs(session_id: str, executor: str | None, uri: str | None, as_json: bool) -> None:
    """Print what the instances of SESSION have printed, also those that have ended.

    The last 64 KiB of stdout and of stderr of each, in the order of their start. The instance keeps those of the
    last 256 that have ended.
    """
    with open_connection(uri) as connection:
        print_logs(connection.get_session(session_id).logs(executor), as_json=as_json)


def _json_of(info: SessionInfo) -> dict[str, object]:
    return {
        "id": info.session,
        "state": info.state.name.lower(),
        "application": info.spec.application,
        "resreq": info.spec.resreq,
        "min_instances": info.spec.min_instances,
        "max_instances": info.spec.max_instances,
        "batch_size": info.spec.batch_size,
        "creation_time": time_of(info.creation_time_ms),
        "completion_time": None if info.completion_time_ms is None else time_of(info.completion_time_ms),
        "pending": info.pending,
        "running": info.running,
        "succeed": info.succeed,
        "failed": info.failed,
        "cancelled": info.cancelled,
        "events": [event_of(event) for event in info.events],
    }


def _row_of(info: SessionInfo) -> tuple[str, ...]:
    counts = (info.pending, info.running, info.succeed, info.failed, info.cancelled)
    return (
        info.session,
        state_name(info.state),
        info.spec.application,
        "-" if info.spec.resreq is None else resources_text(info.spec.resreq),
        *map(str, counts),
        time_text(time_of(info.creation_time_ms)),
    )
