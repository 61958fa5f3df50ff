# SPDX-License-Identifier: Apache-2.0
"""`hearth node`: nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flamepy.core.convert import time_of
from flamepy.proto.types_pb2 import NodeState
from hearth.cli.address import json_option, open_connection, uri_option
from hearth.cli.output import Column, print_json, print_json_list, print_table, resources_text, size_text

if TYPE_CHECKING:
    from flamepy.core.cluster import Node

__all__ = ["node"]

_COLUMNS = [
    Column("Name"),
    Column("Hostname"),
    Column("Status"),
    Column("CPU", is_number=True),
    Column("Memory", is_number=True),
    Column("GPU", is_number=True),
    Column("Arch"),
    Column("OS"),
]


@click.group(epilog="Example: hearth node list")
def node() -> None:
    """Nodes: the machines that run executors."""


@node.command("list", epilog="Example: hearth node list --json | jq '.[].capacity.cpu'")
@uri_option
@json_option
def list_(uri: str | None, as_json: bool) -> None:
    """Every node, and what it has in all."""
    with open_connection(uri) as connection:
        nodes = connection.list_nodes()
    if as_json:
        print_json_list(map(_json_of, nodes))
    else:
        print_table(_COLUMNS, map(_row_of, nodes))


@node.command("view", epilog="Example: hearth node view $(hostname)")
@click.argument("name")
@uri_option
@json_option
def view(name: str, uri: str | None, as_json: bool) -> None:
    """All that is known of the node NAME."""
    with open_connection(uri) as connection:
        found = connection.get_node(name)
    if as_json:
        print_json(_json_of(found))
    else:
        print_table([Column("Name"), Column(found.metadata.name)], _lines_of(found))


def _json_of(node: Node) -> dict[str, object]:
    status = node.status
    return {
        "name": node.metadata.name,
        "hostname": node.spec.hostname,
        "state": NodeState.Name(status.state).lower(),
        "capacity": status.capacity,
        "allocatable": status.allocatable,
        "arch": status.info.arch,
        "os": status.info.os,
        "last_heartbeat_time": time_of(status.last_heartbeat_time),
    }


def _row_of(node: Node) -> tuple[str, ...]:
    capacity = node.status.capacity
    return (
        node.metadata.name,
        node.spec.hostname,
        NodeState.Name(node.status.state),
        str(capacity.cpu),
        size_text(capacity.memory),
        str(capacity.gpu),
        node.status.info.arch,
        node.status.info.os,
    )


def _lines_of(node: Node) -> list[tuple[str, str]]:
    status = node.status
    return [
        ("Hostname", node.spec.hostname),
        ("Status", NodeState.Name(status.state)),
        ("Capacity", resources_text(status.capacity)),
        ("Allocatable", resources_text(status.allocatable)),
        ("Arch", status.info.arch),
        ("OS", status.info.os),
    ]
