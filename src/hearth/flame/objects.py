# SPDX-License-Identifier: Apache-2.0
"""flame.object.*: values that clients and services share. Opaque bytes here: the daemon never unpickles."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import msgspec

from flamepy import protocol
from flamepy.core.object_key import ObjectKey
from flamepy.core.types import FlameError, FlameErrorCode
from hearth.broker.payloads import JsonPayload, MsgpackPayload
from hearth.broker.service import LATER
from hearth.objects.index import ObjectIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.flame.service import FlameService

__all__ = ["Objects"]

_HELD_BYTES = 1 << 30  # as upstream's cache, when it keeps objects in memory

_encode = msgspec.msgpack.Encoder().encode


class Objects:
    """The store's door. endpoint is what references say: the address at which clients and services find us."""

    def __init__(self, service: FlameService, endpoint: str, held_bytes: int = _HELD_BYTES) -> None:
        self._index = ObjectIndex(held_bytes)
        self._epoch = str(uuid.uuid4())
        self._endpoint = endpoint
        self._service = service
        service.serve("object.put", MsgpackPayload(protocol.WriteObject), self._put)
        service.serve("object.update", MsgpackPayload(protocol.WriteObject), self._update)
        service.serve("object.patch", MsgpackPayload(protocol.WriteObject), self._patch)
        service.serve("object.get", JsonPayload(protocol.GetObject), self._get)
        service.serve("object.delete", JsonPayload(protocol.DeleteObjects), self._delete)

    def _put(self, request: Packet, asked: protocol.WriteObject) -> protocol.ObjectInfo:
        key = _read(ObjectKey.from_prefix, asked.key)
        if key.is_all_sessions():
            raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"object key {asked.key!r}: a new object has one session")
        key = key.with_generated_id()
        return self._written(key, self._index.put(key, asked.data))

    def _update(self, request: Packet, asked: protocol.WriteObject) -> protocol.ObjectInfo:
        key = _read(ObjectKey.from_key, asked.key)
        return self._written(key, self._index.update(key, asked.data))

    def _patch(self, request: Packet, asked: protocol.WriteObject) -> protocol.ObjectInfo:
        key = _read(ObjectKey.from_key, asked.key)
        return self._written(key, self._index.patch(key, asked.data))

    def _written(self, key: ObjectKey, version: int) -> protocol.ObjectInfo:
        return protocol.ObjectInfo(self._endpoint, str(key), version)

    def _get(self, request: Packet, asked: protocol.GetObject) -> object:
        """Objects may be large: who has not taken the last one is sent the next one when there is room for it."""
        port = self._service.router.port_of(request)
        if port is not None and port.is_congested:
            port.when_drained(lambda: self._service.handle(request))
            return LATER
        known = asked.version if asked.epoch == self._epoch else 0
        state = self._index.get(_read(ObjectKey.from_key, asked.key), known)
        self._service.router.respond(request, _encode(protocol.ObjectData(self._epoch, *state)))
        return LATER

    def _delete(self, request: Packet, asked: protocol.DeleteObjects) -> protocol.ObjectsDeleted:
        return protocol.ObjectsDeleted(self._index.delete(_read(ObjectKey.from_path, asked.key)))


def _read(parse: Callable[[str], ObjectKey], text: str) -> ObjectKey:
    """Raises FlameError INVALID_ARGUMENT."""
    try:
        return parse(text)
    except ValueError as error:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, str(error)) from None
