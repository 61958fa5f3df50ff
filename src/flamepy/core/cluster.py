# SPDX-License-Identifier: Apache-2.0
"""Nodes and executors, shaped as the messages that upstream's list_nodes and list_executors give.

States are numbers; `flamepy.proto.types_pb2` has their names: ``NodeState.Name(node.status.state)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flamepy.core.types import ResourceRequirement, Shim
    from flamepy.protocol import ExecutorInfo
    from flamepy.protocol import NodeInfo as NodeAnswer

__all__ = [
    "Executor",
    "ExecutorSpec",
    "ExecutorStatus",
    "Metadata",
    "Node",
    "NodeAddress",
    "NodeInfo",
    "NodeSpec",
    "NodeStatus",
    "executor_of",
    "node_of",
]


@dataclass
class Metadata:
    """What a thing is called."""

    id: str
    name: str


@dataclass
class ExecutorSpec:
    """Where an executor is, what it was given of the node, and what it can run."""

    node: str
    resreq: ResourceRequirement
    shim: Shim


@dataclass
class ExecutorStatus:
    """What an executor does: state is a number of ExecutorState."""

    state: int
    session_id: str


@dataclass
class Executor:
    """A slot on a node with the process in it, as it was when asked for."""

    metadata: Metadata
    spec: ExecutorSpec
    status: ExecutorStatus


@dataclass
class NodeSpec:
    """Which machine it is."""

    hostname: str


@dataclass
class NodeInfo:
    """What kind of machine it is: arch as uname(2) has it, os in small letters."""

    arch: str
    os: str


@dataclass
class NodeAddress:
    """One address of a machine."""

    type: str
    address: str


@dataclass
class NodeStatus:
    """What a node offers: state is a number of NodeState.

    capacity is all it has, allocatable what sessions may share of it. last_heartbeat_time is in UTC
    milliseconds. There are addresses only where nodes talk over a network.
    """

    state: int
    capacity: ResourceRequirement
    allocatable: ResourceRequirement
    info: NodeInfo
    last_heartbeat_time: int
    addresses: list[NodeAddress] = field(default_factory=list)


@dataclass
class Node:
    """A machine that runs executors, as it was when asked for."""

    metadata: Metadata
    spec: NodeSpec
    status: NodeStatus


def executor_of(info: ExecutorInfo) -> Executor:
    """From the wire's struct."""
    return Executor(
        Metadata(info.executor, info.executor),
        ExecutorSpec(info.node, info.resreq, info.shim),
        ExecutorStatus(info.state, info.session),
    )


def node_of(info: NodeAnswer) -> Node:
    """From the wire's struct."""
    return Node(
        Metadata(info.node, info.node),
        NodeSpec(info.hostname),
        NodeStatus(
            info.state,
            info.capacity,
            info.allocatable,
            NodeInfo(info.arch, info.os),
            info.last_heartbeat_time_ms,
        ),
    )
