# SPDX-License-Identifier: Apache-2.0
"""`hearth app`: applications."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.output import Column, print_json_list, print_table, state_name, time_text

if TYPE_CHECKING:
    from flamepy.core.types import Application

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
