# SPDX-License-Identifier: Apache-2.0
"""What people are shown of one application: a line for each thing it says."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from hearth.cli.output import one_line, state_name

if TYPE_CHECKING:
    from flamepy.core.types import Application, ApplicationAttributes, ApplicationSchema

__all__ = ["application_lines", "duration_text", "print_lines"]


def application_lines(name: str, said: Application | ApplicationAttributes) -> list[tuple[str, str]]:
    """Titles and values, in the order of flmctl; ``-`` for what was not said."""
    arguments = shlex.join(said.arguments) if said.arguments else None
    environments = [f"{key}={value}" for key, value in sorted((said.environments or {}).items())]
    return [
        ("Name", one_line(name)),
        ("Description", one_line(said.description)),
        ("Shim", state_name(said.shim) if said.shim is not None else "Host"),
        ("Image", one_line(said.image)),
        ("URL", one_line(said.url)),
        ("Installer", one_line(said.installer)),
        ("Labels", one_line(", ".join(said.labels or ()) or None)),
        ("Command", one_line(said.command)),
        ("Arguments", one_line(arguments)),
        ("Environments", one_line(shlex.join(environments) or None)),
        ("WorkingDir", one_line(said.working_directory)),
        ("Max Instances", "-" if said.max_instances is None else str(said.max_instances)),
        ("Delay Release", "-" if said.delay_release is None else duration_text(said.delay_release)),
        *_schema_lines(said.schema),
    ]


def _schema_lines(schema: ApplicationSchema | None) -> list[tuple[str, str]]:
    if schema is None:
        return [("Schema", "-")]
    return [
        ("Schema Input", one_line(schema.input)),
        ("Schema Output", one_line(schema.output)),
        ("Schema Common Data", one_line(schema.common_data)),
    ]


def duration_text(seconds: int) -> str:
    """Whole seconds: ``1m`` for 60, ``1h1m1s`` for 3661, ``0s``."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{amount}{unit}" for amount, unit in parts if amount) or "0s"


def print_lines(lines: list[tuple[str, str]]) -> None:
    """One below the other, the values aligned."""
    width = max(len(title) for title, _ in lines) + 1
    for title, value in lines:
        click.echo(f"{title + ':':{width}} {value}")
