# SPDX-License-Identifier: Apache-2.0
"""The `event` service: publishing with an acknowledgement (subscribing is each connection's own business)."""

from __future__ import annotations

import base64
import errno
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_MSGFLAG_PRIVATE, FLUX_MSGTYPE_EVENT
from flux.packet import Packet
from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import JsonPayload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from hearth.broker.router import Router

__all__ = ["EventService"]


class _Publish(msgspec.Struct):
    topic: str
    flags: int
    payload: str | None = None


class EventService(Service):
    """event.publish: {topic, flags, payload?: base64} → {seq}."""

    def __init__(self, router: Router) -> None:
        super().__init__(router, "event")
        self.add_method("publish", JsonPayload(_Publish), self._publish, USERS)

    def _publish(self, request: Packet, publish: _Publish) -> dict[str, int]:
        if publish.flags & ~FLUX_MSGFLAG_PRIVATE:
            raise ServiceError(errno.EPROTO)
        payload = None
        if publish.payload is not None:
            try:
                payload = base64.b64decode(publish.payload, validate=True)
            except ValueError:  # binascii.Error, or a character that is not even ASCII
                raise ServiceError(errno.EPROTO) from None
        event = Packet(
            FLUX_MSGTYPE_EVENT,
            publish.flags,
            request.userid,
            request.rolemask,
            routes=[self.router.uuid],
            topic=publish.topic,
            payload=payload,
        )
        return {"seq": self.router.publish(event)}
