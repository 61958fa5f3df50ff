# SPDX-License-Identifier: Apache-2.0
"""`hearth session`: sessions."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from flamepy.core.convert import event_of, time_of
from flamepy.core.types import ResourceRequirement, SessionAttributes, SessionState
from flamepy.protocol import MAX_COUNT, ListSessions, SessionInfo, SessionList, SessionRef
from hearth.cli.address import form_option, json_option, open_connection, uri_option
from hearth.cli.instance_logs import print_logs
from hearth.cli.output import (
    Column,
    event_lines,
    event_texts,
    one_line,
    print_json,
    print_json_list,
    print_screen,
    print_table,
    resources_text,
    state_name,
    time_text,
)
from hearth.cli.seconds import Seconds

if TYPE_CHECKING:
    from flamepy.core.client import Connection

__all__ = ["session"]

_COUNTERS = ("Pending", "Running", "Succeed", "Failed", "Cancelled")
_COLUMNS = [
    Column("ID"),
    Column("State"),
    Column("App"),
    Column("Resources"),
    Column("Priority", is_number=True),
    *(Column(counter, is_number=True) for counter in _COUNTERS),
    Column("Created"),
]
_WIDE = [
    *_COLUMNS,
    Column("Completed"),
    Column("Instances", is_number=True),
    Column("Timeout", is_number=True),
    Column("Retries", is_number=True),
    Column("Last event"),
]


@click.group(epilog="Example: hearth session list")
def session() -> None:
    """Sessions, open and closed."""


# -- looking


@session.command("list", epilog="Example: hearth session list --json | jq -r '.[].id'")
@click.option(
    "-w",
    "--watch",
    type=Seconds(),
    metavar="SECONDS",
    help="List them again and again until Ctrl-C.",
)
@form_option("wide")
@uri_option
@json_option
def list_(watch: float | None, form: str, uri: str | None, as_json: bool) -> None:
    """Every session, open ones first, then by age.

    One that is Closing takes no more tasks, and is closed when those it has are finished. -o wide has also what
    its tasks may do, and the last event. With --watch --json each look is an object on a line of its own.
    """
    form = "json" if as_json else form
    with open_connection(uri) as connection:
        if watch is not None:
            _watch(connection, watch, form)
        infos = _ask(connection)
    if form == "json":
        print_json_list(map(_json_of, infos))
    else:
        print_table(_columns(form), (_row_of(info, form) for info in infos))


def _ask(connection: Connection) -> list[SessionInfo]:
    """Without common data, which may weigh far more than all the rest."""
    infos = connection.link.ask("flame.session.list", ListSessions(common_data=False), SessionList).sessions
    return sorted(infos, key=lambda info: (info.state, info.creation_time_ms))


def _watch(connection: Connection, period_s: float, form: str) -> None:
    """Never returns: Ctrl-C, a closed pipe or the end of the instance end it."""
    while True:
        infos = _ask(connection)
        if form == "json":
            print_json({"time": datetime.now(timezone.utc), "sessions": list(map(_json_of, infos))})
        else:
            print_screen(_columns(form), [_row_of(info, form) for info in infos])
        time.sleep(period_s)


@session.command("view", epilog="Example: hearth session view flmping-x7Qa2b")
@click.argument("session_id", metavar="SESSION")
@form_option()
@uri_option
@json_option
def view(session_id: str, form: str, uri: str | None, as_json: bool) -> None:
    """Everything about one session: its counters, what its tasks may do, and what happened to it."""
    with open_connection(uri) as connection:
        info = connection.link.ask("flame.session.get", SessionRef(session_id), SessionInfo)
    if as_json or form == "json":
        print_json(_json_of(info))
    else:
        print_table([Column("Session"), Column(one_line(info.session))], _lines_of(info))


# -- making and closing


def _read_resources(context: click.Context, option: click.Parameter, text: str | None) -> ResourceRequirement | None:
    try:
        return None if text is None else ResourceRequirement.from_string(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@session.command("create", epilog="Example: hearth session create -a flmping -p 10 -r cpu=1,mem=512m")
@click.option("-a", "--app", "application", metavar="NAME", required=True, help="The application that it is made of.")
@click.option(
    "-p",
    "--priority",
    type=click.IntRange(min=0, max=MAX_COUNT),
    default=0,
    show_default=True,
    metavar="N",
    help="Higher ones are served first.",
)
@click.option(
    "-r", "--resreq", metavar="RESREQ", callback=_read_resources, help="Of each instance, as cpu=1,mem=1g,gpu=0."
)
@uri_option
@json_option
def create(application: str, priority: int, resreq: ResourceRequirement | None, uri: str | None, as_json: bool) -> None:
    """Make a session, to be used by programs that open it by its id."""
    with open_connection(uri) as connection:
        attributes = SessionAttributes(application, priority=priority, resreq=resreq)
        session_id = connection.create_session(attributes).id
        info = connection.link.ask("flame.session.get", SessionRef(session_id), SessionInfo)
    _say(info, "created", as_json=as_json)


@session.command("close", epilog="Example: hearth session close --drain flmping-x7Qa2b")
@click.argument("session_id", metavar="SESSION")
@click.option("--drain", is_flag=True, help="Finish all its tasks first, and take no more.")
@click.option("--force", is_flag=True, help="Cancel its tasks, also those that run.")
@uri_option
@json_option
def close(session_id: str, drain: bool, force: bool, uri: str | None, as_json: bool) -> None:
    """Close a session: what waits is cancelled. While a task runs that is refused, unless an option says what to do.

    With --drain the command ends when the session is closed; Ctrl-C ends the command, not the closing.
    """
    if drain and force:
        raise click.UsageError("close with --drain or with --force, not with both")
    with open_connection(uri) as connection:
        connection.close_session(session_id, drain=drain, force=force)
        info = connection.link.ask("flame.session.get", SessionRef(session_id), SessionInfo)
    _say(info, "closed", as_json=as_json)


@session.command("delete", epilog="Example: hearth session delete flmping-x7Qa2b")
@click.argument("session_id", metavar="SESSION")
@uri_option
@json_option
def delete(session_id: str, uri: str | None, as_json: bool) -> None:
    """Forget a closed session and its tasks. With --json what it was is printed."""
    with open_connection(uri) as connection:
        info = connection.link.ask("flame.session.get", SessionRef(session_id), SessionInfo)
        connection.delete_session(session_id)
    _say(info, "deleted", as_json=as_json)


def _say(info: SessionInfo, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_json_of(info))
    else:
        click.echo(f"Session <{info.session}> was {what}.")


# -- as JSON, as a row, as lines


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
        "closing": info.closing,
        "application": info.spec.application,
        "resreq": info.spec.resreq,
        "min_instances": info.spec.min_instances,
        "max_instances": info.spec.max_instances,
        "batch_size": info.spec.batch_size,
        "priority": info.spec.priority,
        "timeout": info.spec.timeout_s,
        "max_retries": info.spec.max_retries,
        "creation_time": time_of(info.creation_time_ms),
        "completion_time": _completion(info),
        "pending": info.pending,
        "running": info.running,
        "succeed": info.succeed,
        "failed": info.failed,
        "cancelled": info.cancelled,
        "events": [event_of(event) for event in info.events],
    }


def _columns(form: str) -> list[Column]:
    return _WIDE if form == "wide" else _COLUMNS


def _row_of(info: SessionInfo, form: str) -> tuple[str, ...]:
    counts = (info.pending, info.running, info.succeed, info.failed, info.cancelled)
    row = (
        info.session,
        _state(info),
        info.spec.application,
        _resources(info),
        str(info.spec.priority),
        *map(str, counts),
        time_text(time_of(info.creation_time_ms)),
    )
    if form != "wide":
        return row
    events = event_texts(map(event_of, info.events))
    return (*row, time_text(_completion(info)), _instances(info), *_options(info), events[-1] if events else "-")


def _lines_of(info: SessionInfo) -> list[tuple[str, str]]:
    timeout, retries = _options(info)
    counts = (info.pending, info.running, info.succeed, info.failed, info.cancelled)
    told = (f"{count} {name.lower()}" for count, name in zip(counts, _COUNTERS, strict=True))
    events = event_texts(map(event_of, info.events))
    return [
        ("Application", info.spec.application),
        ("State", _state(info)),
        ("Resources", _resources(info)),
        ("Priority", str(info.spec.priority)),
        ("Instances", _instances(info)),
        ("Task timeout", timeout),
        ("Task retries", retries),
        ("Created", time_text(time_of(info.creation_time_ms))),
        ("Completed", time_text(_completion(info))),
        ("Tasks", ", ".join(told)),
        *event_lines(events),
    ]


def _state(info: SessionInfo) -> str:
    return "Closing" if info.closing and info.state is SessionState.OPEN else state_name(info.state)


def _resources(info: SessionInfo) -> str:
    return "-" if info.spec.resreq is None else resources_text(info.spec.resreq)


def _completion(info: SessionInfo) -> datetime | None:
    return None if info.completion_time_ms is None else time_of(info.completion_time_ms)


def _instances(info: SessionInfo) -> str:
    """``0..5``, or ``2..`` where there is no most."""
    return f"{info.spec.min_instances}..{'' if info.spec.max_instances is None else info.spec.max_instances}"


def _options(info: SessionInfo) -> tuple[str, str]:
    """Timeout and retries of its tasks; ``-`` where the session does not say."""
    timeout_s, retries = info.spec.timeout_s, info.spec.max_retries
    return "-" if timeout_s is None else f"{timeout_s:g}s", "-" if retries is None else str(retries)
