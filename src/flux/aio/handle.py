# SPDX-License-Identifier: Apache-2.0
"""The handle for asyncio: one connection to an instance, and all that is done over it."""

from __future__ import annotations

import errno
import warnings
from typing import TYPE_CHECKING, Any

from flux import packet as wire
from flux.aio import events, services
from flux.aio.connection import Connection
from flux.aio.reconnect import Reconnect
from flux.aio.streams import Stream
from flux.broker_requests import PUBLISHER, log_header, log_lines, publish_request
from flux.constants import (
    FLUX_MATCHTAG_NONE,
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_MSGTYPE_ANY,
    FLUX_MSGTYPE_EVENT,
    FLUX_NODEID_ANY,
    FLUX_NODEID_UPSTREAM,
    FLUX_RPC_NORESPONSE,
)
from flux.core.ancestors import resolving
from flux.core.topics import topic_matcher
from flux.message import Message, packet_of
from flux.util import payload_frame, topic_text

if TYPE_CHECKING:
    from typing_extensions import Self

    from flux.aio.call import Call
    from flux.aio.forms import Form

__all__ = ["Flux", "connect"]

_IMMUTABLE = 1  # flag of an attribute that never changes, so it is asked for once


async def connect(url: str | bytes | None = None, *, reconnect: bool | Reconnect = False) -> Flux:
    """A connected handle, for who cannot use ``async with``; `Flux.close` it. Raises as `flux.Flux` does."""
    return await Flux(url, reconnect=reconnect).__aenter__()


class Flux:
    """A connection to an instance, opened by ``async with`` and closed at its end.

    url: as for `flux.Flux`; opening raises what that raises. reconnect: make the connection again when it is
    lost, see `Reconnect`: then what is in flight fails with ConnectionResetError, what is called meanwhile
    waits, and the subscriptions and services are restored. Else, and after giving up, whatever waits gets
    ConnectionResetError and later calls BrokenPipeError.

    A handle belongs to one event loop, and to the process that opened it: RuntimeError elsewhere. Once
    closed it raises OSError (EINVAL).
    """

    def __init__(self, url: str | bytes | None = None, *, reconnect: bool | Reconnect = False) -> None:
        policy = Reconnect() if reconnect is True else reconnect or None
        self._url = url
        self._connection = Connection(policy)
        self._attributes: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self._connection.open(await _resolve(self._url))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up, after the broker has taken what is queued if it does so soon; what waits gets OSError (EINVAL)."""
        await self._connection.close()

    def __del__(self) -> None:
        connection = self._connection
        if connection.is_open:
            if connection.link is None or not connection.link.is_inherited:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
            connection.abort()

    async def reconnect(self) -> None:
        """Connect anew, under a new identity, and restore subscriptions and services.

        Requests in flight fail with ECONNRESET. Raises OSError, and leaves the handle as it is, when the
        instance does not answer; ENOTSUP for ``fd://``, whose socket somebody else has connected.
        """
        await self._connection.reconnect()

    # Requests

    def rpc(
        self,
        topic: str | bytes,
        payload: Any = None,
        nodeid: int = FLUX_NODEID_ANY,
        flags: int = 0,
        *,
        answer: Form = "json",
    ) -> Call:
        """Make a request; await its answer. It leaves, with all of this turn, when the loop gets its turn.

        payload: see `flux.util.encode_payload`. flags: 0 or FLUX_RPC_NORESPONSE, where None is the answer at
        once. answer: its form, see `flux.aio.forms`. Raises OSError (EINVAL) for other flags, OverflowError
        for a nodeid out of range; see `Call` for the errors of the answer.
        """
        if flags & ~FLUX_RPC_NORESPONSE:
            raise OSError(errno.EINVAL, f"rpc: flags {flags:#x}: want 0 or FLUX_RPC_NORESPONSE; for streams, stream()")
        message_flags = FLUX_MSGFLAG_NORESPONSE if flags else 0
        if nodeid != FLUX_NODEID_ANY:
            nodeid, address_flags = self._address(nodeid)
            message_flags |= address_flags
        return self._connection.request(topic_text(topic), payload_frame(payload), nodeid, message_flags, answer)

    def stream(
        self,
        topic: str | bytes,
        payload: Any = None,
        nodeid: int = FLUX_NODEID_ANY,
        *,
        cancel: str | None = None,
        answer: Form = "json",
    ) -> Stream:
        """Make a streaming request; see `Stream`.

        cancel: the topic that asks the service to stop when the stream is left before its end; without
        it ``cancel`` in place of the method, as in log.dmesg and log.cancel. answer: the form of each.
        """
        name = topic_text(topic)
        return Stream(self._connection, name, payload, nodeid, cancel or f"{name.rpartition('.')[0]}.cancel", answer)

    def _address(self, nodeid: int) -> tuple[int, int]:
        """The nodeid and the flags that a message bears."""
        if not 0 <= nodeid <= FLUX_NODEID_ANY:
            raise OverflowError(f"nodeid {nodeid} is not in the range 0 to {FLUX_NODEID_ANY}")
        if nodeid != FLUX_NODEID_UPSTREAM:
            return nodeid, 0
        rank = self._attributes.get("rank")
        if rank is None:
            raise OSError(errno.EINVAL, "FLUX_NODEID_UPSTREAM: the own rank is not known yet; await get_rank() before")
        return int(rank), FLUX_MSGFLAG_UPSTREAM

    def matchtag_avail(self) -> int:
        """How many tags are free in the pool, which grows when it runs out; for finding leaked requests."""
        link = self._connection.link
        return 0 if link is None else link.session.tags_available

    # Messages

    async def send(self, message: Message) -> None:
        """Queue any message; waits while the socket is full, or the connection is made again.

        Raises OSError (EINVAL) for None, TypeError for what is no Message.
        """
        packet = packet_of(message)
        (await self._connection.standing()).send(packet)

    async def drain(self) -> None:
        """Wait until the socket has taken all that was queued: for who makes many requests and awaits none."""
        await (await self._connection.standing()).drain()

    async def recv(
        self,
        type_mask: int = FLUX_MSGTYPE_ANY,
        match_tag: int = FLUX_MATCHTAG_NONE,
        topic_glob: str | bytes | None = None,
    ) -> Message:
        """Wait for the first message that matches and nobody else takes; the others keep their place.

        That is: events of `event_subscribe`, requests of `service_register`, responses to requests that were
        made with `send`. match_tag: of a response, 0 for any message. topic_glob: see `flux.core.topics`.
        Raises OSError: ENOBUFS when more came than is kept, ConnectionResetError when the connection is lost.
        """
        matches_topic = topic_matcher("" if topic_glob is None else topic_text(topic_glob))

        def matches(packet: wire.Packet) -> bool:
            if not packet.type & type_mask or not matches_topic(packet.topic):
                return False
            return not match_tag or (packet.aux2 == match_tag and not packet.routes)

        self._connection.check()
        return Message(handle=await self._connection.inbox.get(matches))

    async def respond(self, message: Message, payload: Any = None) -> None:
        """Answer a request from `recv`; nothing happens if it wants no answer."""
        await self._respond(message, payload, 0)

    async def respond_error(self, message: Message, errnum: int, text: str | bytes | None) -> None:
        """Answer a request from `recv` with an error; 0 as errnum becomes EINVAL."""
        await self._respond(message, text, errnum or errno.EINVAL)

    async def _respond(self, message: Message, payload: Any, errnum: int) -> None:
        packet, frame = packet_of(message), payload_frame(payload)
        if not packet.flags & FLUX_MSGFLAG_NORESPONSE:
            (await self._connection.standing()).send(wire.response_to(packet, frame, errnum))

    # Events

    def events(self, topic: str | bytes = "") -> events.Events:
        """Subscribe to the events whose topic begins with `topic`; see `Events`."""
        return events.Events(self._connection, topic_text(topic))

    def event_create(self, topic: str | bytes, payload: Any = None) -> Message:
        """An event to `send`; payload: see `flux.util.encode_payload`."""
        return Message.from_event_encode(topic, payload)

    async def event_send(self, topic: str | bytes, payload: Any = None) -> None:
        """Send an event; returns before the broker has published it."""
        await self.send(self.event_create(topic, payload))

    def event_publish(self, topic: str | bytes, flags: int = 0, payload: Any = None) -> Call:
        """Have the broker publish an event; the answer, once it has, is {"seq": its number}.

        flags: 0 or FLUX_MSGFLAG_PRIVATE; others are refused with EPROTO.
        """
        return self.rpc("event.publish", publish_request(topic, flags, payload), nodeid=PUBLISHER)

    async def event_subscribe(self, topic: str | bytes) -> None:
        """Have the events whose topic begins with `topic` come to `recv`, from now on."""
        await self._connection.raw_events.subscribe(topic_text(topic))

    async def event_unsubscribe(self, topic: str | bytes) -> None:
        """Undo one `event_subscribe`. Raises FileNotFoundError when there was none."""
        await self._connection.raw_events.unsubscribe(topic_text(topic))

    async def event_recv(self, topic: str | bytes | None = None) -> Message:
        """Wait for an event; topic: a glob as for `recv`. Raises as `recv` does."""
        return await self.recv(FLUX_MSGTYPE_EVENT, topic_glob=topic)

    # Services

    def service(self, name: str | bytes) -> services.Service:
        """Answer requests whose topic begins with ``name.``; see `Service`."""
        return services.Service(self._connection, topic_text(name))

    async def service_register(self, name: str | bytes) -> None:
        """Have requests whose topic begins with ``name.`` come to `recv`.

        Raises FileExistsError when the name is taken, OSError (EINVAL) when it has a dot, PermissionError
        for a guest's name that does not begin with its userid.
        """
        await services.register(self._connection, topic_text(name), None)

    async def service_unregister(self, name: str | bytes) -> None:
        """Undo `service_register`. Raises FileNotFoundError when it was not done here."""
        await services.unregister(self._connection, topic_text(name))

    # The broker

    async def get_rank(self) -> int:
        """The rank of the broker this handle is connected to."""
        return int(await self.attr_get("rank"))

    async def attr_get(self, name: str | bytes) -> str:
        """The value of a broker attribute. Raises FileNotFoundError for an unknown one."""
        name = topic_text(name)
        value = self._attributes.get(name)
        if value is None:
            answer = await self.rpc("attr.get", {"name": name})
            value = str(answer["value"])
            if answer["flags"] & _IMMUTABLE:
                self._attributes[name] = value
        return value

    async def attr_set(self, name: str, value: str) -> None:
        """Set a broker attribute. Raises OSError: ENOENT, EPERM for a constant, EINVAL for what is set only once."""
        await self.rpc("attr.set", {"name": name, "value": value})

    async def attr_remove(self, name: str) -> None:
        """Remove a broker attribute, which may be absent. Raises PermissionError for a constant."""
        await self.rpc("attr.rm", {"name": name})

    async def log(self, level: int, text: str | bytes) -> None:
        """Append to the broker's log, each line of the text as one record; nothing confirms it.

        level: of `syslog`, LOG_EMERG 0 to LOG_DEBUG 7, else ValueError. The text is taken as it is.
        """
        for line in log_lines(level, text):
            record = log_header(level, await self.get_rank()) + line
            await self.send(Message(handle=wire.request("log.append", record, matchtag=FLUX_MATCHTAG_NONE)))

    def __repr__(self) -> str:
        return f"<flux.aio.Flux {self._connection.uri or self._url!r} {self._connection.state}>"


async def _resolve(url: str | bytes | None) -> str:
    """The URI that a handle's url means; instances on the way are asked for their parents."""
    steps = resolving(url)
    try:
        uri = next(steps)
        while True:
            async with Flux(uri) as handle:
                has_parent = int(await handle.attr_get("instance-level"))
                parent = await handle.attr_get("parent-uri") if has_parent else None
            uri = steps.send(parent)
    except StopIteration as found:
        return str(found.value)
