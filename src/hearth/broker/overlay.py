# SPDX-License-Identifier: Apache-2.0
"""The `overlay` service: the tree of brokers, which is one broker."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import JsonPayload, no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["OverlayService"]


class _Rank(msgspec.Struct):
    rank: int


class OverlayService(Service):
    """overlay.health, overlay.topology, overlay.stats-get. uptime_s is asked how long the broker runs."""

    def __init__(self, router: Router, uptime_s: Callable[[], float]) -> None:
        super().__init__(router, "overlay")
        self._uptime_s = uptime_s
        self.add_method("health", no_payload, self._health, USERS)
        self.add_method("topology", JsonPayload(_Rank), self._topology, USERS)
        self.add_method("stats-get", no_payload, self._stats, USERS)

    def _health(self, request: Packet, nothing: None) -> dict[str, Any]:
        return {"rank": 0, "status": "full", "duration": self._uptime_s(), "children": []}

    def _topology(self, request: Packet, root: _Rank) -> dict[str, Any]:
        """The tree below a rank. Raises ServiceError ENOENT for any but 0."""
        if root.rank != 0:
            raise ServiceError(errno.ENOENT, "requested rank is not this broker or its direct child")
        return {"rank": 0, "size": 1, "children": []}

    def _stats(self, request: Packet, nothing: None) -> dict[str, Any]:
        counts = dict.fromkeys(["child-count", "child-connected", "parent-count", "parent-rpc", "child-rpc"], 0)
        return {**counts, "interthread": {"sendq": 0, "recvq": 0}}
