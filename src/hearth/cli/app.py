# SPDX-License-Identifier: Apache-2.0
"""`hearth app`: applications."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.app_text import application_lines, print_lines
from hearth.cli.deploy import deploy
from hearth.cli.output import Column, print_json, print_json_list, print_table, state_name, time_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, TypeAlias

    from flamepy.core.types import Application, ApplicationAttributes

    _Described: TypeAlias = "list[tuple[str, ApplicationAttributes]]"

__all__ = ["app"]

_COLUMNS = [Column(title) for title in ("Name", "State", "Shim", "Tags", "Created", "Command")]


@click.group(epilog="Example: hearth app list")
def app() -> None:
    """Applications: what sessions can be made of."""


@app.command("list", epilog="Example: hearth app list --json | jq -r '.[].name'")
@uri_option
@json_option
def list_(uri: str | None, as_json: bool) -> None:
    """Every application, by name."""
    with open_connection(uri) as connection:
        applications = connection.list_applications()
    if as_json:
        print_json_list(map(_json_of, applications))
    else:
        print_table(_COLUMNS, map(_row_of, applications))


@app.command(epilog="Example: hearth app view flmexec")
@click.argument("name")
@uri_option
@json_option
def view(name: str, uri: str | None, as_json: bool) -> None:
    """Everything that an application was registered with."""
    with open_connection(uri) as connection:
        application = connection.get_application(name)
    if application is None:
        raise click.ClickException(f"application {name!r} not found; list them with: hearth app list")
    if as_json:
        print_json(_json_of(application))
    else:
        print_lines(application_lines(name, application))


_file_option = click.option("-f", "--file", type=click.File(encoding="utf-8"), required=True, help="YAML; - for stdin.")


@app.command(epilog="Example: hearth app register --file census.yaml")
@_file_option
@uri_option
@json_option
def register(file: IO[str], uri: str | None, as_json: bool) -> None:
    """Register the applications of a YAML file, each a document with metadata.name and spec.

    All of it is read before the first one is registered. They are registered in their order, until one is refused.
    """
    applications = _applications_of(file)
    with open_connection(uri) as connection:
        _do_each(applications, connection.register_application, "registered", as_json=as_json)


@app.command(epilog="Example: hearth app update --file census.yaml")
@_file_option
@uri_option
@json_option
def update(file: IO[str], uri: str | None, as_json: bool) -> None:
    """Give registered applications what a YAML file says, in place of all they had; open sessions forbid it.

    The file is as for `hearth app register`; what it leaves out is unset. All of it is read before the first one is
    updated. They are updated in their order, until one is refused.
    """
    applications = _applications_of(file)
    with open_connection(uri) as connection:
        _do_each(applications, connection.update_application, "updated", as_json=as_json)


def _applications_of(file: IO[str]) -> _Described:
    from hearth.cli.app_file import ApplicationFileError, read_applications  # YAML takes a while to load

    try:
        return read_applications(file.read(), file.name)
    except ApplicationFileError as error:
        raise click.ClickException(str(error)) from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file.name} is no UTF-8 text: {error}") from error


def _do_each(
    applications: _Described, change: Callable[[str, ApplicationAttributes], None], done: str, *, as_json: bool
) -> None:
    for name, attributes in applications:
        change(name, attributes)
        if not as_json:
            click.echo(f"Application {name} was {done}.")
    if as_json:
        print_json_list({"name": name} for name, _ in applications)


@app.command(epilog="Example: hearth app unregister census")
@click.argument("name")
@uri_option
@json_option
def unregister(name: str, uri: str | None, as_json: bool) -> None:
    """Remove an application and its closed sessions; open ones forbid it."""
    with open_connection(uri) as connection:
        connection.unregister_application(name)
    if as_json:
        print_json({"name": name})
    else:
        click.echo(f"Application {name} was unregistered.")


app.add_command(deploy)


def _json_of(application: Application) -> dict[str, object]:
    fields = {field.name: getattr(application, field.name) for field in dataclasses.fields(application)}
    del fields["id"]  # the same as the name
    fields["state"] = application.state.name.lower()
    fields["shim"] = application.shim.name.lower() if application.shim is not None else None
    return fields


def _row_of(application: Application) -> tuple[str, ...]:
    return (
        application.name,
        state_name(application.state),
        state_name(application.shim) if application.shim is not None else "-",
        ",".join(application.labels or ()) or "-",
        time_text(application.creation_time),
        " ".join([application.command or "-", *(application.arguments or ())]),
    )
