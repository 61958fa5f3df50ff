# SPDX-License-Identifier: Apache-2.0
"""flame.node.*: the machines that run executors. For now there is one, the daemon's own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from flamepy import protocol
from flamepy.core.types import FlameError, FlameErrorCode
from flamepy.proto import types_pb2
from hearth.broker.payloads import JsonPayload, no_payload
from hearth.engine import views

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.flame.service import FlameService

__all__ = ["Nodes"]


class Nodes:
    """Tells of the node. The daemon runs on it, so it is ready whenever somebody asks."""

    def __init__(self, service: FlameService) -> None:
        self._service = service
        self._state = service.engine.state
        service.serve("node.list", no_payload, self._list)
        service.serve("node.get", JsonPayload(protocol.Name), self._get)

    def _list(self, request: Packet, nothing: None) -> protocol.NodeList:
        return protocol.NodeList([self._node()])

    def _get(self, request: Packet, asked: protocol.Name) -> protocol.NodeInfo:
        if asked.name != self._state.host:
            raise FlameError(
                FlameErrorCode.NOT_FOUND, f"node {asked.name!r} not found; list them with: hearth node list"
            )
        return self._node()

    def _node(self) -> protocol.NodeInfo:
        capacity = self._state.capacity.requirement()
        return protocol.NodeInfo(
            node=self._state.host,
            hostname=self._state.host,
            state=types_pb2.Ready,
            capacity=capacity,
            allocatable=capacity,  # sessions may share all of it; what is free just now: flame.status
            arch=os.uname().machine,
            os=sys.platform,
            last_heartbeat_time_ms=views.milliseconds(self._service.now()),
        )
