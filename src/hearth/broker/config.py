# SPDX-License-Identifier: Apache-2.0
"""The `config` service: one JSON object, loaded by the owner, for programs that keep their settings there."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_ROLE_ALL
from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import JsonPayload, Payload, encode_json, no_payload
from hearth.broker.service import LATER, Service
from hearth.broker.streams import Streams, is_streaming

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["ConfigService"]


class _Configuration(Payload[dict[str, Any]]):
    """Any object."""

    def __init__(self) -> None:
        self._json = JsonPayload(dict[str, Any])

    def decode(self, request: Packet) -> dict[str, Any]:
        """The object. Raises ServiceError EPROTO, with the text that tools know."""
        try:
            return self._json.decode(request)
        except ServiceError:
            raise ServiceError(errno.EPROTO, "error decoding config.load request") from None


class ConfigService(Service):
    """config.get, streaming or not, config.load, config.reload. Pure but for the router."""

    def __init__(self, router: Router) -> None:
        super().__init__(router, "config")
        self._configuration = encode_json({})
        self._watchers = Streams()
        self.add_method("get", no_payload, self._get, USERS)
        self.add_method("load", _Configuration(), self._load)
        self.add_method("reload", no_payload, self._reload)
        self.add_method("disconnect", no_payload, self._disconnect, FLUX_ROLE_ALL)

    def _get(self, request: Packet, nothing: None) -> object:
        """The configuration; to who streams again at every change."""
        if is_streaming(request):
            self._watchers.open(request)
        self.router.respond(request, self._configuration)
        return LATER

    def _load(self, request: Packet, configuration: dict[str, Any]) -> None:
        """Replace all of it."""
        self._configuration = encode_json(configuration)
        for watcher in self._watchers:
            self.router.respond(watcher, self._configuration)

    def _reload(self, request: Packet, nothing: None) -> None:
        """Nothing to do: there is no file that it would come from."""

    def _disconnect(self, request: Packet, nothing: None) -> None:
        self._watchers.drop(request)
