# SPDX-License-Identifier: Apache-2.0
"""The `module` service: the services inside the daemon. They are built in: none is loaded or removed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import JsonPayload, no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["ModuleService"]

_RUNNING = 1


class _Load(msgspec.Struct):
    path: str
    args: list[str]


class _Remove(msgspec.Struct):
    name: str


class ModuleService(Service):
    """module.list, module.load, module.remove."""

    def __init__(self, router: Router) -> None:
        super().__init__(router, "module")
        self.add_method("list", no_payload, self._list, USERS)
        self.add_method("load", JsonPayload(_Load), self._load)
        self.add_method("remove", JsonPayload(_Remove), self._remove)

    def _list(self, request: Packet, nothing: None) -> dict[str, Any]:
        """Every service of the daemon. Nobody measures for how long one was idle: it is always 0."""
        return {"mods": [_module(name) for name in sorted(self.router.builtin)]}

    def _load(self, request: Packet, wanted: _Load) -> None:
        raise ServiceError(errno.ENOENT, "module not found in search path")

    def _remove(self, request: Packet, wanted: _Remove) -> None:
        if wanted.name in self.router.builtin:
            raise ServiceError(errno.EPERM, f"{wanted.name} is built in and stays")
        raise ServiceError(errno.ENOENT)


def _module(name: str) -> dict[str, Any]:
    queues = {"sendqueue": 0, "recvqueue": 0}
    return {"name": name, "path": "builtin", "idle": 0, "status": _RUNNING, "services": [], **queues}
