# SPDX-License-Identifier: Apache-2.0
"""Where each message goes. Pure: ports collect what they are sent, nothing here touches a socket or a clock.

A request climbs from its connection to a service and carries a stack of return addresses; its
response is handed back along that stack. Events get one total order here.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_MSGTYPE_CONTROL,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
    FLUX_ROLE_LOCAL,
    FLUX_ROLE_OWNER,
    FLUX_USERID_UNKNOWN,
)
from flux.packet import Packet
from hearth.broker.asked import Asked
from hearth.broker.credentials import Credentials, ServiceError, require_short_stack
from hearth.broker.payloads import JsonPayload
from hearth.broker.subscriptions import PREFIX_MAX, Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BuiltinService", "Port", "Router", "cut_text"]

_SERVICE_PART_MAX = 255 - len(".disconnect")
_REMEMBERED_SERVICES_MAX = 4096  # disconnect notices owed by one connection; far above any real client
_SERVICES_MAX = 1024  # that one connection may register
_ENOSYS_TEXT_MAX = 63
_SEEN_MAX = 1024
_SEEN_TOPIC_MAX = 254  # bytes; a longer one has no short way, and may be as long as a message
_TYPE_MAX = FLUX_MSGTYPE_CONTROL


class Port:
    """One connection as the router sees it. Subclasses say how bytes leave.

    pid: the process that connected, None if that is not known.
    """

    def __init__(self, uuid: str, credentials: Credentials, pid: int | None = None) -> None:
        self.uuid = uuid
        self.credentials = credentials
        self.pid = pid
        self.services: set[str] = set()
        self.owed: dict[tuple[str, int, int], Packet] = {}
        """For each service asked, the first request: whom to tell when the connection ends."""
        self.seen: set[bytes] = set()
        """Topics to any node already entered in `owed`, so that a repeated request costs one look-up."""
        self.asked = Asked()
        self.messages_in = 0
        self.messages_out = 0
        """Counted a batch at a time by who moves the bytes."""

    def send(self, data: bytes) -> None:
        """Queue one framed message for this connection."""
        raise NotImplementedError

    def wait_for(self, congested: Port) -> None:
        """Take no more from this connection until the congested one has room again."""

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once when the queue has room again; never if the connection ends first."""

    @property
    def is_congested(self) -> bool:
        """Whether more is queued than the connection should have to carry."""
        return False


class BuiltinService(Protocol):
    """A service inside this process."""

    def handle(self, request: Packet) -> None:
        """Take a request, its sender pushed on the route stack. Answer with Router.respond, now or later."""

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """A configuration was loaded. Raises ServiceError EINVAL, with nothing changed."""


class Router:
    """The tables of one broker: connections, services, subscriptions, the event sequence."""

    def __init__(self, uuid: str, owner: int) -> None:
        self.uuid = uuid
        self.owner = owner
        self.ports: dict[str, Port] = {}
        self.builtin: dict[str, BuiltinService] = {}
        self.registered: dict[str, Port] = {}
        self.subscriptions: Subscriptions[Port] = Subscriptions()
        self.sequence = 0
        self._on_subscribe: list[Callable[[str], None]] = []
        self.ways: dict[bytes, Port] = {}
        """Topics that went to a registered service, with their connection: what a `Passage` may send on."""
        self.received = [0] * (_TYPE_MAX + 1)
        """Messages that connections sent us, by type."""
        self.sent = [0] * (_TYPE_MAX + 1)
        self._connector_methods: dict[str, Callable[[Port, Packet], None]] = {
            "event.subscribe": self._subscribe,
            "event.unsubscribe": self._unsubscribe,
            "service.add": self._add_service,
            "service.remove": self._remove_service,
        }

    # -- connections

    def add(self, port: Port) -> None:
        """A connection came."""
        self.ports[port.uuid] = port

    def remove(self, port: Port) -> None:
        """A connection ended: its services and subscriptions go, and every service it used is told."""
        if self.ports.pop(port.uuid, None) is None:
            return
        self.subscriptions.forget(port)
        for name in port.services:
            del self.registered[name]
        self.ways.clear()
        port.services.clear()
        for (service_part, _, _), asked in port.owed.items():
            notice = Packet(
                FLUX_MSGTYPE_REQUEST,
                (asked.flags | FLUX_MSGFLAG_NORESPONSE) & ~FLUX_MSGFLAG_STREAMING,
                asked.userid,
                asked.rolemask,
                asked.aux1,
                asked.aux2,
                list(asked.routes or ()),
                f"{service_part}.disconnect" if service_part else "disconnect",
            )
            with contextlib.suppress(ServiceError):  # the service is gone, or there never was one
                self._to_service(notice)
        port.owed.clear()

    def traffic(self) -> dict[str, dict[str, int]]:
        """Messages that we sent (tx) and got (rx), by type, since the start or the last clearing."""
        return {"tx": _by_type(self.sent), "rx": _by_type(self.received)}

    def clear_traffic(self) -> None:
        """Count messages from here."""
        self.sent[:] = self.received[:] = [0] * (_TYPE_MAX + 1)

    # -- messages from a connection

    def receive(self, port: Port, packet: Packet) -> None:
        """Route a message that a connection sent."""
        self.received[packet.type] += 1
        if packet.topic is None:
            return
        port.credentials.stamp(packet)
        if packet.type == FLUX_MSGTYPE_REQUEST:
            self._request(port, packet)
        elif packet.type == FLUX_MSGTYPE_RESPONSE:
            if port.credentials.is_owner or port.asked.allows(packet):
                self._response(packet)
        elif packet.type == FLUX_MSGTYPE_EVENT:
            packet.routes = [self.uuid, port.uuid]
            self.publish(packet)

    def _request(self, port: Port, packet: Packet) -> None:
        topic = packet.topic
        assert topic is not None
        if packet.routes is None:
            packet.routes = [port.uuid]
        else:
            packet.routes.insert(0, port.uuid)
        method = self._connector_methods.get(topic)
        if method is not None:
            self._answer_as_connector(port, packet, method)
            return
        try:
            if not packet.flags & FLUX_MSGFLAG_NORESPONSE and (
                not _is_to_anyone(packet) or _bytes_of(topic) not in port.seen
            ):
                self._remember(port, packet)
            service = self._to_service(packet)
        except ServiceError as error:
            self.respond_error(packet, error.errnum, error.text)
        else:
            if service is not None and service.is_congested:
                port.wait_for(service)

    def _remember(self, port: Port, packet: Packet) -> None:
        """Note the first request to each service, for the disconnect notice."""
        topic = packet.topic or ""
        service_part = topic.rpartition(".")[0]
        if len(_bytes_of(service_part)) > _SERVICE_PART_MAX:
            raise ServiceError(errno.EINVAL, f"service part of the topic is over {_SERVICE_PART_MAX} bytes")
        require_short_stack(packet)
        key = (service_part, packet.aux1, packet.flags & FLUX_MSGFLAG_UPSTREAM)
        if key not in port.owed and len(port.owed) < _REMEMBERED_SERVICES_MAX:
            port.owed[key] = Packet(
                packet.type,
                packet.flags,
                packet.userid,
                packet.rolemask,
                packet.aux1,
                packet.aux2,
                list(packet.routes or ()),
            )
        if _is_to_anyone(packet) and len(topic) <= _SEEN_TOPIC_MAX:
            if len(port.seen) >= _SEEN_MAX:
                port.seen.clear()
            port.seen.add(_bytes_of(topic))

    def _to_service(self, packet: Packet) -> Port | None:
        """Hand a request to its service. Returns the connection that it went to, None for a built-in one."""
        upstream = packet.flags & FLUX_MSGFLAG_UPSTREAM
        if (upstream and packet.aux1 == 0) or (not upstream and packet.aux1 not in (FLUX_NODEID_ANY, 0)):
            raise ServiceError(errno.EHOSTUNREACH)
        topic = packet.topic or ""
        name, dot, _ = topic.partition(".")
        builtin = self.builtin.get(name)
        if builtin is not None:
            builtin.handle(packet)
            return None
        port = self.registered.get(name)
        if port is None:
            raise ServiceError(errno.ENOSYS, cut_text(f"No service matching {topic} is registered", _ENOSYS_TEXT_MAX))
        if not dot:
            raise ServiceError(errno.ENOSYS)
        if not port.credentials.is_owner:
            port.asked.note(packet)
        elif len(way := _bytes_of(topic)) <= _SEEN_TOPIC_MAX:
            if len(self.ways) >= _SEEN_MAX:
                self.ways.clear()
            self.ways[way] = port
        self._send(port, packet)
        return port

    def _send(self, port: Port, packet: Packet) -> None:
        self.sent[packet.type] += 1
        port.send(wire.encode(packet))

    def _response(self, packet: Packet) -> None:
        """Pop the top return address and send it there; without one, or to someone gone, it is dropped."""
        if packet.routes:
            port = self.ports.get(packet.routes.pop(0))
            if port is not None:
                self._send(port, packet)

    # -- answers of built-in services

    def respond(self, request: Packet, payload: bytes | None = None, errnum: int = 0) -> None:
        """Answer a request as the broker; a request that wants no answer gets none."""
        if request.flags & FLUX_MSGFLAG_NORESPONSE:
            return
        answer = wire.response_to(request, payload, errnum)
        answer.userid, answer.rolemask = self.owner, FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL
        answer.routes = list(request.routes or ())  # the request may be answered again
        self._response(answer)

    def respond_error(self, request: Packet, errnum: int, text: str | None = None) -> None:
        """Answer that it failed; text None leaves the errno to speak for itself."""
        payload = None if text is None else _bytes_of(text) + b"\0"
        self.respond(request, payload, errnum or errno.EINVAL)

    def port_of(self, request: Packet) -> Port | None:
        """The connection that a request came through, None if it has ended."""
        return self.ports.get(request.routes[0]) if request.routes else None

    # -- events

    def publish(self, packet: Packet) -> int:
        """Give an event the next sequence number and send it to all who may see it. Returns the number."""
        sequence = self.next_sequence()
        packet.aux1, packet.aux2 = sequence, 0
        subscribers = self.subscriptions.matching(packet.topic or "")
        if subscribers:
            data = wire.encode(packet)
            private = packet.flags & FLUX_MSGFLAG_PRIVATE
            for port in subscribers:
                if not private or port.credentials.is_owner or port.credentials.userid == packet.userid:
                    self.sent[FLUX_MSGTYPE_EVENT] += 1
                    port.send(data)
        return sequence

    def next_sequence(self) -> int:
        """The number of one more event."""
        self.sequence = (self.sequence + 1) & 0xFFFFFFFF
        return self.sequence

    def on_subscribe(self, call: Callable[[str], None]) -> None:
        """Call with the prefix whenever a connection subscribes."""
        self._on_subscribe.append(call)

    # -- what a connection asks of its own end of the wire

    def _answer_as_connector(self, port: Port, request: Packet, method: Callable[[Port, Packet], None]) -> None:
        """Answer with an errno only and userid unknown, as the C connector does."""
        try:
            method(port, request)
            errnum = 0
        except ServiceError as error:
            errnum = error.errnum
        if not request.flags & FLUX_MSGFLAG_NORESPONSE:
            answer = wire.response_to(request, None, errnum)
            answer.userid, answer.rolemask = FLUX_USERID_UNKNOWN, FLUX_ROLE_OWNER
            self._response(answer)

    def _subscribe(self, port: Port, request: Packet) -> None:
        """EINVAL for a prefix longer than any topic should be, ENOSPC if the connection has too many."""
        prefix = _TOPIC.decode(request).topic
        if len(prefix) > PREFIX_MAX:
            raise ServiceError(errno.EINVAL)
        if not self.subscriptions.has_room(prefix, port):
            raise ServiceError(errno.ENOSPC)
        self.subscriptions.add(prefix, port)
        for call in self._on_subscribe:
            call(prefix)

    def _unsubscribe(self, port: Port, request: Packet) -> None:
        if not self.subscriptions.remove(_TOPIC.decode(request).topic, port):
            raise ServiceError(errno.ENOENT)

    def _add_service(self, port: Port, request: Packet) -> None:
        """EINVAL for a name with a dot or too long to be asked for, EPERM for a guest's that is not its own.

        EEXIST if anyone has it, ENOSPC if the connection has too many.
        """
        name = _SERVICE.decode(request).service
        if "." in name or len(_bytes_of(name)) > _SERVICE_PART_MAX:
            raise ServiceError(errno.EINVAL)
        if not port.credentials.is_owner and not name.startswith(f"{port.credentials.userid}-"):
            raise ServiceError(errno.EPERM)
        if name in self.builtin or name in self.registered:
            raise ServiceError(errno.EEXIST)
        if len(port.services) >= _SERVICES_MAX:
            raise ServiceError(errno.ENOSPC)
        self.registered[name] = port
        port.services.add(name)

    def _remove_service(self, port: Port, request: Packet) -> None:
        name = _SERVICE.decode(request).service
        if name not in port.services:
            raise ServiceError(errno.ENOENT)
        port.services.discard(name)
        del self.registered[name]
        self.ways.clear()


def cut_text(text: str, most_bytes: int) -> str:
    """As much of the front of an error text as the C broker's buffers hold."""
    return _bytes_of(text)[:most_bytes].decode("utf-8", "surrogateescape")


def _bytes_of(text: str) -> bytes:
    """The bytes of a text made from a topic, which need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _by_type(counts: list[int]) -> dict[str, int]:
    return {
        "request": counts[FLUX_MSGTYPE_REQUEST],
        "response": counts[FLUX_MSGTYPE_RESPONSE],
        "event": counts[FLUX_MSGTYPE_EVENT],
        "control": counts[FLUX_MSGTYPE_CONTROL],
    }


def _is_to_anyone(packet: Packet) -> bool:
    return packet.aux1 == FLUX_NODEID_ANY and not packet.flags & FLUX_MSGFLAG_UPSTREAM


class _Topic(msgspec.Struct):
    topic: str


class _ServiceName(msgspec.Struct):
    service: str


_TOPIC = JsonPayload(_Topic)
_SERVICE = JsonPayload(_ServiceName)
