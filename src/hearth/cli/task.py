# SPDX-License-Identifier: Apache-2.0
"""`hearth task`: tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flamepy.protocol import CancelledTasks, CancelTasks
from hearth.cli.address import form_option, json_option, open_connection, uri_option
from hearth.cli.instance_logs import print_logs
from hearth.cli.output import (
    Column,
    event_lines,
    event_texts,
    json_bytes,
    one_line,
    print_json,
    print_json_list,
    print_table,
    short_text,
    state_name,
    time_text,
)

if TYPE_CHECKING:
    from flamepy.core.types import Task

__all__ = ["task"]

_SHOWN_MAX = 60  # characters of input and output: enough to know them by, and a table still fits a screen
_VIEWED_MAX = 1000  # of the one task that is looked at

_COLUMNS = [
    Column("ID", is_number=True),
    Column("State"),
    Column("Created"),
    Column("Completed"),
    Column("Input"),
    Column("Output"),
]
_WIDE = [*_COLUMNS, Column("Last event")]


@click.group(epilog="Example: hearth task list SESSION")
def task() -> None:
    """Tasks of a session."""


@task.command("list", epilog="Example: hearth task list flmping-x7Qa2b --json | jq '.[].output'")
@click.argument("session")
@form_option("wide")
@uri_option
@json_option
def list_(session: str, form: str, uri: str | None, as_json: bool) -> None:
    """Every task of SESSION, in the order of their ids.

    Fetched page by page: the first ones are there at once, however many there are. Long inputs and outputs
    are shortened; --json has them in full, as text, or as {"base64": …} where they are no text. -o wide has
    also what happened to each task last.
    """
    with open_connection(uri) as connection:
        tasks = connection.get_session(session).list_tasks()
        if as_json or form == "json":
            print_json_list(map(_json_of, tasks))
        elif form == "wide":
            print_table(_WIDE, ((*_row_of(each), short_text(_last_event(each), _SHOWN_MAX)) for each in tasks))
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


@task.command("view", epilog="Example: hearth task view flmping-x7Qa2b 1")
@click.argument("session")
@click.argument("task_id", metavar="TASK", type=int)
@form_option()
@uri_option
@json_option
def view(session: str, task_id: int, form: str, uri: str | None, as_json: bool) -> None:
    """Everything about one task, and what happened to it."""
    with open_connection(uri) as connection:
        its_session = connection.get_session(session)
        one = its_session.get_task(str(task_id))
    if as_json or form == "json":
        print_json({**_json_of(one), "application": its_session.application})
    else:
        print_table([Column("Task"), Column(one.id)], _lines_of(one, its_session.application))


@task.command("watch", epilog="Example: hearth task watch flmping-x7Qa2b 1")
@click.argument("session")
@click.argument("task_id", metavar="TASK", type=int)
@uri_option
@json_option
def watch(session: str, task_id: int, uri: str | None, as_json: bool) -> None:
    """Print the state of a task now and whenever it changes, each on a line, until it has ended.

    Beside it is what happened last, the text of a service that failed for one. With --json each state is the
    whole task, on a line of its own.
    """
    with open_connection(uri) as connection, connection.get_session(session).watch_task(str(task_id)) as states:
        for one in states:
            if as_json:
                print_json(_json_of(one))
            else:
                click.echo(f"{state_name(one.state):9}  {one_line(_last_event(one))}")


@task.command("cancel", epilog="Example: hearth task cancel flmping-x7Qa2b 1 2 3")
@click.argument("session")
@click.argument("task_ids", metavar="TASK...", nargs=-1, required=True, type=int)
@uri_option
@json_option
def cancel(session: str, task_ids: tuple[int, ...], uri: str | None, as_json: bool) -> None:
    """Cancel tasks that wait or run; with an unknown one among them, none is.

    With --json the ids of those that had not ended before are printed.
    """
    with open_connection(uri) as connection:
        asked = CancelTasks(session, list(task_ids))
        cancelled = connection.link.ask("flame.task.cancel", asked, CancelledTasks).cancelled
    if as_json:
        print_json({"cancelled": list(map(str, cancelled))})
        return
    for task_id in dict.fromkeys(task_ids):
        click.echo(f"Task <{task_id}> {'was cancelled' if task_id in cancelled else 'had ended before'}.")


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


def _lines_of(task: Task, application: str) -> list[tuple[str, str]]:
    return [
        ("Session", task.session_id),
        ("Application", application),
        ("State", state_name(task.state)),
        ("Created", time_text(task.creation_time)),
        ("Completed", time_text(task.completion_time)),
        ("Input", short_text(task.input, _VIEWED_MAX)),
        ("Output", short_text(task.output, _VIEWED_MAX)),
        *event_lines(event_texts(task.events or [])),
    ]


def _last_event(task: Task) -> str:
    return (event_texts(task.events or []) or ["-"])[-1]
