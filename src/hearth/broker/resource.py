# SPDX-License-Identifier: Apache-2.0
"""The services `resource` and `job-manager`, as far as they can be answered here: one node, and no queue of jobs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import OptionalJson, no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["JobManagerService", "ResourceService"]


class ResourceService(Service):
    """resource.status: this machine, with the given number of cores, is all there is, and it is online."""

    def __init__(self, router: Router, host: str, cores: int) -> None:
        super().__init__(router, "resource")
        ranks = [{"rank": "0", "children": {"core": "0" if cores == 1 else f"0-{cores - 1}"}}]
        execution = {"R_lite": ranks, "starttime": 0.0, "expiration": 0.0, "nodelist": [host]}
        self._all = {"version": 1, "execution": execution}
        self.add_method("status", no_payload, self._status, USERS)

    def _status(self, request: Packet, nothing: None) -> dict[str, Any]:
        return {"R": self._all, "drain": {}, "online": "0", "offline": "", "exclude": "", "torpid": ""}


class _Queue(msgspec.Struct):
    name: str | None = None


class JobManagerService(Service):
    """job-manager.queue-list and queue-status: there are no queues, and no jobs are taken. Sessions take tasks."""

    def __init__(self, router: Router) -> None:
        super().__init__(router, "job-manager")
        self.add_method("queue-list", no_payload, self._list, USERS)
        self.add_method("queue-status", OptionalJson(_Queue), self._status, USERS)

    def _list(self, request: Packet, nothing: None) -> dict[str, list[str]]:
        return {"queues": []}

    def _status(self, request: Packet, queue: _Queue) -> dict[str, bool]:
        """Of the one queue without a name. Raises ServiceError EINVAL for any other."""
        if queue.name is not None:
            raise ServiceError(errno.EINVAL, f"no such queue: {queue.name}")
        return {"enable": False, "start": False}
