# SPDX-License-Identifier: Apache-2.0
"""A subscription to events, and the events that it brings."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

from flux.aio.source import Source
from flux.aio.unread import Unread
from flux.message import Message
from flux.util import payload_frame

if TYPE_CHECKING:
    from flux.aio.connection import Connection
    from flux.packet import Packet

__all__ = ["Events", "RawEvents", "subscribe", "unsubscribe"]


class Events(Source[Message]):
    """Made by `Flux.events`: the events whose topic begins with `topic`, from the time it is opened, in their order.

    After the connection is lost for good, what came before is given out, then ConnectionResetError is
    raised. Across a reconnect it goes on; events published in between are missed, as their `seq` shows.
    """

    def __init__(self, connection: Connection, topic: str) -> None:
        self.topic = topic
        self._connection = connection
        self._unread = Unread(f"events {topic!r}")

    async def _open(self) -> None:
        self._unread = Unread(f"events {self.topic!r}")
        self._connection.event_takers.append(self)
        try:
            await subscribe(self._connection, self.topic)
        except BaseException:
            self._connection.event_takers.remove(self)
            raise

    def _close(self) -> None:
        self._connection.event_takers.remove(self)
        self._connection.restoring.unsubscribed(self.topic)
        self._connection.tell("event.unsubscribe", {"topic": self.topic})

    def put(self, event: Packet) -> None:
        """Take an event."""
        self._unread.put(event)

    def end(self, error: OSError) -> None:
        """The connection is gone for good."""
        self._unread.end(error)

    async def __anext__(self) -> Message:
        return Message(handle=await self._unread.get())


class RawEvents:
    """The subscriptions of `Flux.event_subscribe`, whose events go to `recv`: each once, however many match."""

    topic = ""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._topics: Counter[str] = Counter()

    async def subscribe(self, topic: str) -> None:
        """One more."""
        if not self._topics:
            self._connection.event_takers.append(self)
        self._topics[topic] += 1
        try:
            await subscribe(self._connection, topic)
        except BaseException:
            self._remove(topic)
            raise

    async def unsubscribe(self, topic: str) -> None:
        """One less. Raises FileNotFoundError when there was none."""
        if not self._topics[topic]:
            raise FileNotFoundError(errno.ENOENT, f"no event_subscribe({topic!r}) to undo")
        await unsubscribe(self._connection, topic)
        self._remove(topic)

    def _remove(self, topic: str) -> None:
        self._topics -= Counter([topic])
        if not self._topics:
            self._connection.event_takers.remove(self)

    def put(self, event: Packet) -> None:
        """Take an event, if a subscription asked for it."""
        topic = event.topic or ""
        if any(topic.startswith(prefix) for prefix in self._topics):
            self._connection.inbox.put(event)

    def end(self, _error: OSError) -> None:
        """The inbox is told by its owner."""


async def subscribe(connection: Connection, topic: str) -> None:
    """Have events sent, also after a reconnect; whoever is cancelled meanwhile has none sent."""
    call = connection.request("event.subscribe", payload_frame({"topic": topic}))
    try:
        await call
    except BaseException:
        if call.has_effect:
            connection.tell("event.unsubscribe", {"topic": topic})
        raise
    connection.restoring.subscribed(topic)


async def unsubscribe(connection: Connection, topic: str) -> None:
    """Undo one `subscribe`. Raises FileNotFoundError when there was none."""
    call = connection.request("event.unsubscribe", payload_frame({"topic": topic}))
    await call
    connection.restoring.unsubscribed(topic)
