# SPDX-License-Identifier: Apache-2.0
"""The `connector-local` service: who is connected to the socket, and who may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hearth.broker.access import Access
from hearth.broker.payloads import no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flux.packet import Packet
    from hearth.broker.connection import Connection
    from hearth.broker.server import Broker

__all__ = ["ConnectorService"]


class ConnectorService(Service):
    """connector-local.stats-get. Its settings are the table `access`: they hold for connections to come."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker.router, "connector-local")
        self._broker = broker
        self.add_method("stats-get", no_payload, self._stats)

    def configure(self, configuration: Mapping[str, Any]) -> None:  # noqa: D102 as above
        self._broker.access = Access.configured(self._broker.access.owner, configuration)

    def _stats(self, request: Packet, nothing: None) -> dict[str, Any]:
        access = self._broker.access
        prefixes = self.router.subscriptions.prefixes_by_subscriber()
        return {
            "server": {
                "clients": [_client(each, prefixes.get(each, 0)) for each in self._broker.connections],
                "connects": self._broker.connects,
            },
            "allow_guest_user": access.allow_guest_user,
            "allow_root_owner": access.allow_root_owner,
        }


def _client(connection: Connection, subscriptions: int) -> dict[str, Any]:
    """One client; tx is what we sent to it. What follows rxbacklog is ours, Flux tells less."""
    return {
        "uuid": connection.uuid,
        "userid": connection.credentials.userid,
        "pid": connection.pid,
        "txcount": connection.messages_out,
        "rxcount": connection.messages_in,
        "rxbacklog": connection.backlog,
        "txbytes": connection.bytes_out,
        "rxbytes": connection.bytes_in,
        "services": sorted(connection.services),
        "subscriptions": subscriptions,
    }
