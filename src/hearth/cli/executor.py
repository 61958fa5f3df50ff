# SPDX-License-Identifier: Apache-2.0
"""`hearth executor`: executors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flamepy.proto.types_pb2 import ExecutorState
from flamepy.protocol import ExecutorList
from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.output import Column, print_json_list, print_table

if TYPE_CHECKING:
    from flamepy.protocol import ExecutorInfo

__all__ = ["executor"]

_COLUMNS = [
    Column("ID"),
    Column("State"),
    Column("Session"),
    Column("Node"),
    Column("App"),
    Column("PID", is_number=True),
    Column("Running", is_number=True),
]


@click.group(epilog="Example: hearth executor list")
def executor() -> None:
    """Executors: the processes that serve sessions."""


@executor.command("list", epilog="Example: hearth executor list --json | jq '.[].pid'")
@uri_option
@json_option
def list_(uri: str | None, as_json: bool) -> None:
    """Every executor, oldest first, with the number of tasks in its hands."""
    with open_connection(uri) as connection:
        executors = connection.link.ask("flame.executor.list", None, ExecutorList).executors
    if as_json:
        print_json_list(map(_json_of, executors))
    else:
        print_table(_COLUMNS, map(_row_of, executors))


def _json_of(info: ExecutorInfo) -> dict[str, object]:
    return {
        "id": info.executor,
        "state": _state_name(info).lower(),
        "session_id": info.session,
        "application": info.application,
        "node": info.node,
        "shim": info.shim.name.lower(),
        "resreq": info.resreq,
        "pid": info.pid,
        "running": info.running,
    }


def _row_of(info: ExecutorInfo) -> tuple[str, ...]:
    return (
        info.executor,
        _state_name(info),
        info.session,
        info.node,
        info.application,
        "-" if info.pid is None else str(info.pid),
        str(info.running),
    )


def _state_name(info: ExecutorInfo) -> str:
    """``Bound`` for ExecutorBound."""
    return ExecutorState.Name(info.state).removeprefix("Executor")
