# SPDX-License-Identifier: Apache-2.0
"""`hearth config`: the configuration of the instance."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import open_bus
from hearth.cli.output import print_json

__all__ = ["config"]


@click.group(epilog="Example: hearth config get access")
def config() -> None:
    """The configuration that was loaded into the instance."""


@config.command("get", epilog="Example: hearth config get access.allow-guest-user")
@click.argument("key", required=False)
@bus_uri_option
@json_option
def get(key: str | None, uri: str | None, as_json: bool) -> None:
    """Print the configuration, or what KEY names in it.

    KEY is a path with dots: `a.b` is b in the table a. A text is printed bare, all else as JSON; --json prints
    texts as JSON too, and everything on one line.
    """
    with open_bus(uri) as bus:
        found = bus.ask("config.get", None, dict[str, Any])
    value = found if key is None else _look_up(found, key)
    if as_json:
        print_json(value)
    elif isinstance(value, str):
        click.echo(value)
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _look_up(table: dict[str, Any], key: str) -> Any:
    """Raises ClickException where the path leads nowhere."""
    value: Any = table
    path: list[str] = []
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            where = f"in {'.'.join(path)!r}" if path else "in the configuration"
            raise click.ClickException(f"there is no {name!r} {where}; see what there is: hearth config get")
        path.append(name)
        value = value[name]
    return value
