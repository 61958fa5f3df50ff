# SPDX-License-Identifier: Apache-2.0
"""`hearth kvs`: the key-value store."""

from __future__ import annotations

import base64
import errno
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import click

import flux.kvs
from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_TREEOBJ
from flux.kvs.lookup import decode_value, look_up
from hearth.cli.address import bus_uri_option, json_option
from hearth.cli.bus import Bus, open_bus
from hearth.cli.output import json_bytes, one_line, print_json, print_json_list

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["kvs"]

namespace_option = click.option("-N", "--namespace", metavar="NAME", help="[default: FLUX_KVS_NAMESPACE, primary]")


@click.group(epilog="Example: hearth kvs put run.name=census")
def kvs() -> None:
    """The key-value store: values by dotted keys, kept by the instance."""


def _told(key: str) -> dict[int, str]:
    """What to say when the store refuses something about a key."""
    if not key:
        return {errno.EINVAL: "the key is empty; the root is called ."}
    return {
        errno.ENOENT: f"key {key!r} does not exist; list them: hearth kvs ls",
        errno.EISDIR: f"{key!r} is a directory; list it: hearth kvs ls {key}",
        errno.ENOTDIR: f"{key!r} is a value; print it: hearth kvs get {key}",
        errno.ENOTSUP: f"key {key!r}: the namespace does not exist",
    }


def _about(bus: Bus, key: str) -> AbstractContextManager[None]:
    """What the store refuses within the block is about this key. Raises ClickException."""
    return bus.explaining(f"key {key!r}", _told(key))


def _json_value(value: Any) -> Any:
    return json_bytes(value) if isinstance(value, bytes) else value


@kvs.command("get", epilog="Example: hearth kvs get run.name")
@click.argument("key")
@namespace_option
@bus_uri_option
@json_option
def get(key: str, namespace: str | None, uri: str | None, as_json: bool) -> None:
    """Print a value: its bytes and a line feed, with --json what they mean."""
    with open_bus(uri) as bus, _about(bus, key):
        found = look_up(bus.handle, key, namespace)
    if as_json:
        print_json(_json_value(decode_value(found)))
    else:
        sys.stdout.buffer.write(base64.b64decode(found["data"]) + b"\n")
        sys.stdout.buffer.flush()


@kvs.command("put", epilog="Example: hearth kvs put run.name=census 'run.limits={\"files\": 100}'")
@click.argument("pairs", metavar="KEY=VALUE...", nargs=-1, required=True)
@namespace_option
@bus_uri_option
@json_option
def put(pairs: tuple[str, ...], namespace: str | None, uri: str | None, as_json: bool) -> None:
    """Store values, all or none, as the text that they are; JSON is read back as what it means.

    With --json the root of the tree that this made is printed.
    """
    with open_bus(uri) as bus:
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not key or not equals:
                raise click.UsageError(f"{pair!r} is no KEY=VALUE")
            flux.kvs.put(bus.handle, key, value, raw=True)
        with _about(bus, " ".join(pair.partition("=")[0] for pair in pairs)):
            root = flux.kvs.commit_async(bus.handle, namespace=namespace).get()
    if as_json:
        print_json(root)


@kvs.command("ls", epilog="Example: hearth kvs ls run")
@click.argument("key", default=".")
@namespace_option
@bus_uri_option
@json_option
def ls(key: str, namespace: str | None, uri: str | None, as_json: bool) -> None:
    """Print the names in a directory, by default the root; directories have a dot behind them.

    With --json each is an object with name and type: val, valref (a long value), dirref or symlink.
    """
    with open_bus(uri) as bus, _about(bus, key):
        entries = look_up(bus.handle, key, namespace, FLUX_KVS_READDIR)["data"]
    if as_json:
        print_json_list({"name": name, "type": entry["type"]} for name, entry in entries.items())
    else:
        for name, entry in entries.items():
            click.echo(one_line(name) + ("." if entry["type"] == "dirref" else ""))


@kvs.command("rm", epilog="Example: hearth kvs rm run")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@namespace_option
@bus_uri_option
@json_option
def rm(keys: tuple[str, ...], namespace: str | None, uri: str | None, as_json: bool) -> None:
    """Remove keys and all below them, all or none. A missing one is an error.

    With --json the root of the tree that this made is printed.
    """
    with open_bus(uri) as bus:
        for key in keys:
            with _about(bus, key):
                look_up(bus.handle, key, namespace, FLUX_KVS_TREEOBJ)
            flux.kvs.put_unlink(bus.handle, key)
        with _about(bus, " ".join(keys)):
            root = flux.kvs.commit_async(bus.handle, namespace=namespace).get()
    if as_json:
        print_json(root)


@kvs.command("watch", epilog="Example: hearth kvs watch --waitcreate run.state")
@click.argument("key")
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N values.")
@click.option("-W", "--waitcreate", is_flag=True, help="Wait for a key that is missing.")
@click.option("-u", "--uniq", is_flag=True, help="Only values that differ from the last one.")
@click.option("-f", "--full", is_flag=True, help="Notice what happens to the directories above.")
@namespace_option
@bus_uri_option
@json_option
def watch(
    key: str,
    count: int | None,
    waitcreate: bool,
    uniq: bool,
    full: bool,
    namespace: str | None,
    uri: str | None,
    as_json: bool,
) -> None:
    """Print a value now and whenever it is written, each on a line, until Ctrl-C or the key is removed."""
    with open_bus(uri) as bus, _about(bus, key):
        values = flux.kvs.kvs_watch_async(bus.handle, key, namespace, waitcreate, uniq, full)
        for _ in itertools.repeat(None) if count is None else itertools.repeat(None, count):
            value = values.get()
            print_json(_json_value(value)) if as_json else click.echo(_line(value))


def _line(value: Any) -> str:
    return one_line(value) if isinstance(value, str | bytes) else json.dumps(value, ensure_ascii=False)
