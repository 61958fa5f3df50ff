# SPDX-License-Identifier: Apache-2.0
"""`hearth task`: tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.instance_logs import print_logs
from hearth.cli.output import Column, json_bytes, print_json_list, print_table, short_text, state_name, time_text

if TYPE_CHECKING:
    from flamepy.core.types import Task

__all__ = ["task"]

_SHOWN_MAX = 60  # characters of input and output: enough to know them by, and a table still fits a screen

_COLUMNS = [
    Column("ID", is_number=True),
    Column("State"),
    Column("Created"),
    Column("Completed"),
    Column("Input"),
    Column("Output"),
]


@click.group(epilog="Example: hearth task list SESSION")
def task() -> None:
    """Tasks of a session."""


@task.command("list", epilog="Example: hearth task list flmping-x7Qa2b --json | jq '.[].output'")
@click.argument("session")
@uri_option
@json_option
def list_(session: str, uri: str | None, as_json: bool) -> None:
    """Every task of SESSION, in the order of their ids.

    Fetched page by page: the first ones are there at once, however many there are. Long inputs and outputs
    are shortened; --json has them in full, as text, or as {"base64": …} where they are no text.
    """
    with open_connection(uri) as connection:
        tasks = connection.get_session(session).list_tasks()
        if as_json:
            print_json_list(map(_json_of, tasks))
        else:
            print_table(_COLUMNS, map(_row_of, tasks))


@task.command("logs", epilog="Example: hearth task logs flmping-x7Qa2b 7")
@click.argument("session")
@click.argument("task_id", metavar="[TASK]", required=False)
@uri_option
@json_option
def logs(session: str, task_id: str | None, uri: str | None, as_json: bool) -> None:
    """Print what the instance that has or had TASK has printed; without TASK as `hearth session logs` does.

    An instance does many tasks, and what it prints is not divided among them.
    """
    with open_connection(uri) as connection:
        print_logs(connection.get_session(session).logs(task_id=task_id), as_json=as_json)


def _json_of(task: Task) -> dict[str, object]:
    return {
        "id": task.id,
        "session_id": task.session_id,
        "state": task.state.name.lower(),
        "creation_time": task.creation_time,
        "completion_time": task.completion_time,
        "input": json_bytes(task.input),
        "output": json_bytes(task.output),
        "events": task.events,
        "executor": task.executor,
    }


def _row_of(task: Task) -> tuple[str, ...]:
    return (
        task.id,
        state_name(task.state),
        time_text(task.creation_time),
        time_text(task.completion_time),
        short_text(task.input, _SHOWN_MAX),
        short_text(task.output, _SHOWN_MAX),
    )
