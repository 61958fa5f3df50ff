# SPDX-License-Identifier: Apache-2.0
"""`hearth attr`: the attributes of the instance."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import click
import msgspec

from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import Refused, open_bus
from hearth.cli.output import Column, one_line, print_json, print_json_list, print_table

if TYPE_CHECKING:
    from hearth.cli.bus import Bus

__all__ = ["attr"]

_IMMUTABLE = 1


class _Value(msgspec.Struct):
    value: str
    flags: int


class _Names(msgspec.Struct):
    names: list[str]


@click.group(epilog="Example: hearth attr list --values")
def attr() -> None:
    """Attributes: what the instance tells about itself."""


@attr.command("get", epilog="Example: hearth attr get rundir")
@click.argument("name")
@bus_uri_option
@json_option
def get(name: str, uri: str | None, as_json: bool) -> None:
    """Print the value of an attribute."""
    told = {errno.ENOENT: f"attribute {name!r} is unknown, or has no value yet; list them: hearth attr list"}
    with open_bus(uri) as bus:
        found = bus.ask("attr.get", {"name": name}, _Value, told)
    if as_json:
        print_json(_json_of(name, found))
    else:
        click.echo(one_line(found.value))


@attr.command("set", epilog="Example: hearth attr set log-stderr-level 7")
@click.argument("name")
@click.argument("value")
@click.option(
    "-f", "--force", is_flag=True, help="Also where it is set already and not meant to change, unless it is constant."
)
@bus_uri_option
@json_option
def set_(name: str, value: str, force: bool, uri: str | None, as_json: bool) -> None:
    """Give an attribute a value.

    Names that begin with vendor. or test. are yours to make up. What is refused with `attribute may not be updated`
    is taken with --force.
    """
    told = {
        errno.ENOENT: f"attribute {name!r} is unknown; list them: hearth attr list",
        errno.EPERM: f"attribute {name!r} is constant, or not yours to change",
    }
    with open_bus(uri) as bus:
        request = {"name": name, "value": value, "force": force}
        bus.ask("attr.set", request, type(None), told, about=f"attribute {name!r}")
    if as_json:
        print_json({"name": name, "value": value})


@attr.command("rm", epilog="Example: hearth attr rm vendor.maintenance")
@click.argument("name")
@bus_uri_option
@json_option
def rm(name: str, uri: str | None, as_json: bool) -> None:
    """Remove an attribute; one that is not there is no error."""
    told = {errno.EPERM: f"attribute {name!r} is constant, or not yours to remove"}
    with open_bus(uri) as bus:
        bus.ask("attr.rm", {"name": name}, type(None), told)
    if as_json:
        print_json({"name": name})


@attr.command("list", epilog="Example: hearth attr list --values")
@click.option("-v", "--values", is_flag=True, help="With their values.")
@bus_uri_option
@json_option
def list_(values: bool, uri: str | None, as_json: bool) -> None:
    """Every attribute, by name."""
    with open_bus(uri) as bus:
        names = sorted(bus.ask("attr.list", None, _Names).names)
        found = [(name, _try_get(bus, name) if values else None) for name in names]
    if as_json:
        print_json_list(_json_of(name, value) if values else name for name, value in found)
    elif values:
        rows = ((name, one_line(None if value is None else value.value)) for name, value in found)
        print_table([Column("Name"), Column("Value")], rows)
    else:
        click.echo("".join(f"{one_line(name)}\n" for name in names), nl=False)


def _try_get(bus: Bus, name: str) -> _Value | None:
    """None for a name that has no value yet, or was removed meanwhile."""
    try:
        return bus.ask("attr.get", {"name": name}, _Value)
    except Refused as error:
        if error.errnum != errno.ENOENT:
            raise
        return None


def _json_of(name: str, found: _Value | None) -> dict[str, object]:
    if found is None:
        return {"name": name, "value": None, "immutable": False}
    return {"name": name, "value": found.value, "immutable": bool(found.flags & _IMMUTABLE)}
