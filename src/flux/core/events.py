# SPDX-License-Identifier: Apache-2.0
"""The part of a handle that publishes and receives events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux import packet as wire
from flux.broker_requests import PUBLISHER, publish_request
from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_O_TEST_NOSUB
from flux.core.messaging import Messaging
from flux.message import Message
from flux.util import payload_frame, topic_text

if TYPE_CHECKING:
    from flux.rpc import RPC

__all__ = ["EventMethods"]


class EventMethods(Messaging):
    """Subscriptions are prefixes of topics, and counted: two need two to undo."""

    def event_create(self, topic: str | bytes, payload: Any = None) -> Message:
        """An event to `send`; payload: see `flux.util.encode_payload`."""
        return Message.from_event_encode(topic, payload)

    def event_send(self, topic: str | bytes, payload: Any = None) -> int:
        """Send an event; returns 0, before the broker has published it. Raises as `send` does.

        payload: see `flux.util.encode_payload`.
        """
        return self._send(wire.event(topic_text(topic), payload_frame(payload)))

    def event_publish(self, topic: str | bytes, flags: int, json_str: str | bytes | None) -> RPC:
        """Have the broker publish an event; the answer, once it has, is {"seq": its number}.

        flags: 0 or FLUX_MSGFLAG_PRIVATE; others are refused with EPROTO.
        """
        return self.rpc("event.publish", publish_request(topic, flags, json_str), nodeid=PUBLISHER)

    def event_recv(self, topic: str | bytes | None = None) -> Message:
        """Wait for an event; topic: a glob as for `recv`. Raises as `recv` does."""
        return self.recv(type_mask=FLUX_MSGTYPE_EVENT, topic_glob=topic)

    def event_subscribe(self, topic: str | bytes) -> int:
        """Receive the events whose topic begins with `topic`, from now on; returns 0 when the broker has agreed.

        Raises OSError: EINVAL for None or a topic that is too long, ENOSPC for one subscription too many; TypeError
        for what is no text.
        """
        return self._subscription("event.subscribe", topic)

    def event_unsubscribe(self, topic: str | bytes) -> int:
        """Undo one `event_subscribe`; returns 0. Raises FileNotFoundError when there was none."""
        return self._subscription("event.unsubscribe", topic)

    def _subscription(self, method: str, topic: str | bytes) -> int:
        request = {"topic": topic_text(topic)}
        if not self.flags & FLUX_O_TEST_NOSUB:
            self._call(method, request)
        return 0
