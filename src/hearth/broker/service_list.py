# SPDX-License-Identifier: Apache-2.0
"""The `service` service: who serves what. Adding and removing is each connection's own business (`Router`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hearth.broker.credentials import USERS, Credentials
from hearth.broker.payloads import no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Port, Router

__all__ = ["ServiceListService"]

_SHORT_ID = 8
"""As in the route of a ping. A whole id is an address: who knows it can send stray answers there."""


class ServiceListService(Service):
    """service.list. pid: of this process, which serves what is built in."""

    def __init__(self, router: Router, pid: int) -> None:
        super().__init__(router, "service")
        self._pid = pid
        self.add_method("list", no_payload, self._list, USERS)

    def _list(self, request: Packet, nothing: None) -> dict[str, list[dict[str, Any]]]:
        """Every service by name. A guest is told the process of its own connections only."""
        router = self.router
        services = [_entry(name, True, router.uuid, router.owner, self._pid) for name in router.builtin]
        services += [_registered(name, port, request) for name, port in router.registered.items()]
        return {"services": sorted(services, key=lambda service: str(service["name"]))}


def _registered(name: str, port: Port, request: Packet) -> dict[str, Any]:
    return _entry(name, False, port.uuid, port.credentials.userid, port.pid if _may_know(request, port) else None)


def _may_know(request: Packet, port: Port) -> bool:
    asker = Credentials(request.userid, request.rolemask)
    return asker.is_owner or asker.userid == port.credentials.userid


def _entry(name: str, builtin: bool, uuid: str, userid: int, pid: int | None) -> dict[str, Any]:
    return {"name": name, "builtin": builtin, "uuid": uuid[:_SHORT_ID], "userid": userid, "pid": pid}
