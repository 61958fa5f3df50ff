# SPDX-License-Identifier: Apache-2.0
"""The `config` service: one JSON object, from a file or loaded by the owner, for the services and for programs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import JsonPayload, Payload, encode_json, no_payload
from hearth.broker.service import LATER, Service
from hearth.broker.streams import is_streaming

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """config.get, streaming or not, config.load, config.reload. Pure but for the router and for read.

    read gives what is in the files now, or raises OSError; None if there are none.
    """

    def __init__(self, router: Router, read: Callable[[], dict[str, Any]] | None = None) -> None:
        super().__init__(router, "config")
        self._read = read
        self._configuration: dict[str, Any] = {}
        self._encoded = encode_json({})
        self._watchers = self.new_streams()
        self.add_method("get", no_payload, self._get, USERS)
        self.add_method("load", _Configuration(), lambda _, configuration: self.load(configuration))
        self.add_method("reload", no_payload, lambda _, nothing: self.reload())

    def reload(self) -> None:
        """Read the files again; without any, nothing changes. Raises ServiceError, and what was stays."""
        if self._read is None:
            return
        try:
            configuration = self._read()
        except OSError as error:
            raise ServiceError(error.errno or errno.EIO, _text_of(error)) from None
        self.load(configuration)

    def load(self, configuration: dict[str, Any]) -> None:
        """Replace all of it. Raises ServiceError EINVAL if a service cannot have it so, and what was stays."""
        try:
            self._tell_services(configuration)
        except ServiceError:
            self._tell_services(self._configuration)
            raise
        self._configuration, self._encoded = configuration, encode_json(configuration)
        for watcher in self._watchers:
            self.router.respond(watcher, self._encoded)

    def _tell_services(self, configuration: dict[str, Any]) -> None:
        for service in self.router.builtin.values():
            service.configure(configuration)

    def _get(self, request: Packet, nothing: None) -> object:
        """The configuration; to who streams again at every change."""
        if is_streaming(request):
            self._watchers.open(request)
        self.router.respond(request, self._encoded)
        return LATER


def _text_of(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
