# SPDX-License-Identifier: Apache-2.0
"""The `groups` service: which ranks have said to be part of what; ours is rank 0, and `broker.online`."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_ROLE_LOCAL
from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import JsonPayload, encode_json
from hearth.broker.service import LATER, Service
from hearth.broker.streams import is_streaming

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["GroupsService"]

_ONLINE = "broker.online"
_NAME_MAX = 255  # characters
_GROUPS_MAX = 4096


class _Name(msgspec.Struct):
    name: str


class GroupsService(Service):
    """groups.get, streaming or not, groups.join, groups.leave. Pure but for the router."""

    def __init__(self, router: Router) -> None:
        super().__init__(router, "groups")
        self._joined = {_ONLINE}
        self._watchers = self.new_streams()
        self.add_method("get", JsonPayload(_Name), self._get, USERS)
        self.add_method("join", JsonPayload(_Name), self._join)
        self.add_method("leave", JsonPayload(_Name), self._leave)

    def _get(self, request: Packet, group: _Name) -> object:
        """Its members as an idset, "" for a group without any; to who streams again at every change."""
        if len(group.name) > _NAME_MAX:
            raise ServiceError(errno.EINVAL, f"name of a group is over {_NAME_MAX} characters")
        if is_streaming(request):
            self._watchers.open(request, group.name)
        self.router.respond(request, self._members(group.name))
        return LATER

    def _members(self, name: str) -> bytes:
        return encode_json({"members": "0" if name in self._joined else ""})

    def _join(self, request: Packet, group: _Name) -> None:
        """The rank is in it, not the connection: it stays when who asked for it leaves.

        Raises ServiceError EEXIST if rank 0 is in it already, ENOSPC if it is in too many.
        """
        _require_local(request)
        if group.name in self._joined:
            raise ServiceError(errno.EEXIST, f"rank 0 is already a member of {group.name}")
        if len(self._joined) >= _GROUPS_MAX or len(group.name) > _NAME_MAX:
            raise ServiceError(errno.ENOSPC, f"over {_GROUPS_MAX} groups, or a name over {_NAME_MAX} characters")
        self._joined.add(group.name)
        self._tell_change(group.name)

    def _leave(self, request: Packet, group: _Name) -> None:
        """Raises ServiceError ENOENT if rank 0 is not in it."""
        _require_local(request)
        if group.name not in self._joined:
            raise ServiceError(errno.ENOENT, f"rank 0 is not a member of {group.name}")
        self._joined.remove(group.name)
        self._tell_change(group.name)

    def _tell_change(self, name: str) -> None:
        for watcher in self._watchers.about(name):
            self.router.respond(watcher, self._members(name))


def _require_local(request: Packet) -> None:
    """Raise ServiceError EPERM for what came from another broker: each rank speaks for itself."""
    if not request.rolemask & FLUX_ROLE_LOCAL:
        raise ServiceError(errno.EPERM)
