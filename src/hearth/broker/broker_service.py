# SPDX-License-Identifier: Apache-2.0
"""The `broker` service: the daemon's own environment."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_ROLE_ALL
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, as_utf8
from hearth.broker.service import Service

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["BrokerService"]


class _Names(msgspec.Struct):
    names: list[str]


class _Environment(msgspec.Struct):
    env: dict[str, str | None]


class _Keys(msgspec.Struct):
    keys: list[str]


class BrokerService(Service):
    """broker.getenv, broker.setenv and broker.conf-builtin. What is set is put into the given environment."""

    def __init__(self, router: Router, environment: MutableMapping[str, str]) -> None:
        super().__init__(router, "broker")
        self._environment = environment
        self.add_method("getenv", JsonPayload(_Names), self._get)
        self.add_method("setenv", JsonPayload(_Environment), self._set)
        self.add_method("conf-builtin", JsonPayload(_Keys), self._builtin_configuration, FLUX_ROLE_ALL)

    def _get(self, request: Packet, wanted: _Names) -> dict[str, dict[str, str]]:
        """Those of the names that are set; bytes that are no UTF-8 are replaced, since JSON cannot have them."""
        environment = self._environment
        return {"env": {name: as_utf8(environment[name]) for name in wanted.names if name in environment}}

    def _set(self, request: Packet, wanted: _Environment) -> None:
        """Set, or with null unset, each of them; none if one cannot be. Raises ServiceError EINVAL."""
        for name, value in wanted.env.items():
            if not name or "=" in name or "\0" in name + (value or ""):
                raise ServiceError(errno.EINVAL, f"cannot be in an environment: {name!r}")
        for name, value in wanted.env.items():
            if value is None:
                self._environment.pop(name, None)
            else:
                self._environment[name] = value

    def _builtin_configuration(self, request: Packet, wanted: _Keys) -> dict[str, dict[str, str]]:
        """Nothing is built in: there are no paths of flux-core here. Raises ServiceError EINVAL for any key."""
        for key in wanted.keys:
            raise ServiceError(errno.EINVAL, f"{key}: invalid key")
        return {"values": {}}
