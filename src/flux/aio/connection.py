# SPDX-License-Identifier: Apache-2.0
"""One handle's connection, over one link after another if it is to be made again, and who gets what it brings."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from flux import packet as wire
from flux.aio.call import Call
from flux.aio.events import RawEvents
from flux.aio.link import Link
from flux.aio.opening import open_transport
from flux.aio.unread import Unread
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_REQUEST, FLUX_NODEID_ANY
from flux.errors import named_error
from flux.impersonation import encoder
from flux.restoring import Restoring
from flux.util import payload_frame

if TYPE_CHECKING:
    from collections import deque
    from typing import Any

    from flux.aio.forms import Form
    from flux.aio.reconnect import Reconnect
    from flux.packet import Packet

__all__ = ["Connection"]

_LINGER_S = 5.0  # for the broker to take what was queued before a handle is closed


class _EventTaker(Protocol):
    """Who takes the events below a topic."""

    topic: str

    def put(self, event: Packet) -> None:
        """Take one of them."""

    def end(self, error: OSError) -> None:
        """The connection is gone for good."""


class _RequestTaker(Protocol):
    """Who takes the requests for a service."""

    def take(self, link: Link, request: Packet) -> None:
        """Take one of them, which came over this link."""

    def cut(self) -> None:
        """The link of all requests taken so far is gone, their answers have nowhere to go."""

    def end(self, error: OSError) -> None:
        """The connection is gone for good."""


class _Held(NamedTuple):
    """A request made while there is no link."""

    topic: str
    payload: bytes | None
    call: Call
    nodeid: int
    flags: int


class Connection:
    """Belongs to the loop that opened it. event_takers, services: entered and removed by those who take.

    inbox: what nobody else takes, for `recv`. policy: None to lose the connection only once.
    """

    def __init__(self, policy: Reconnect | None) -> None:
        self.uri = ""
        self.restoring = Restoring()
        self.event_takers: list[_EventTaker] = []
        self.services: dict[str, _RequestTaker | None] = {}  # None: its requests are for the inbox
        self.inbox = Unread("recv")
        self.raw_events = RawEvents(self)
        self.link: Link | None = None
        """None before it is opened, while it is made again, and after it is closed."""
        self._policy = policy
        self._is_repeatable = True
        self._is_closed = False
        self._held: list[_Held] = []
        self._reconnecting: asyncio.Task[None] | None = None

    # Opening

    async def open(self, uri: str) -> None:
        """Connect; raises as `open_transport` does, OSError (EINVAL) the second time."""
        if self._is_closed or self.link is not None or self._reconnecting is not None:
            raise OSError(errno.EINVAL, "a handle connects once; make a new one, or await its reconnect()")
        self.uri = uri
        self.link = self._checked(await self._new_link())

    async def _new_link(self) -> Link:
        encode = encoder(os.environ)
        transport = await open_transport(self.uri)
        self._is_repeatable = transport.is_repeatable
        return Link(transport.stream, self._on_messages, self._on_lost, encode)

    def _checked(self, link: Link) -> Link:
        """The new link, unless the handle was closed while it was made."""
        if self._is_closed:
            link.lose(named_error(errno.ECANCELED))
        self._check_not_closed()
        return link

    async def _restored_link(self) -> Link:
        """A link on which all that the old one had is done again."""
        link = await self._new_link()
        try:
            calls = []
            for topic, payload in self.restoring.requests():
                calls.append(Call())
                _make(link, topic, payload, calls[-1], FLUX_NODEID_ANY, 0)
            await asyncio.gather(*calls)
            if link.session.lost is not None:
                raise link.session.lost
        except BaseException:
            link.lose(named_error(errno.ECANCELED))
            raise
        return link

    async def reconnect(self) -> None:
        """Connect anew; what is in flight fails once the new link stands."""
        self._check_open()
        if not self._is_repeatable:
            raise named_error(errno.ENOTSUP)
        if self._reconnecting is not None and not self._reconnecting.done():
            await self._reconnecting_done()
            if self.link is not None:
                return
        link = self._checked(await self._restored_link())
        if self._reconnecting is not None:
            self._reconnecting.cancel()  # begun since, or over
        old, self.link = self.link, None
        if old is not None:
            old.lose(OSError(errno.ECONNRESET, "RPC aborted due to broker reconnect"))
        self._cut_services()
        self.inbox.go_on()
        self._go_on(link)

    def _go_on(self, link: Link) -> None:
        self.link, self._reconnecting = link, None
        held, self._held = self._held, []
        for topic, payload, call, nodeid, flags in held:
            if not call.done():
                _make(link, topic, payload, call, nodeid, flags)

    async def _reconnect_by_policy(self, policy: Reconnect) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + policy.give_up_s
        failure: Exception = TimeoutError("no answer")
        for delay in policy.delays():
            try:
                link = await asyncio.wait_for(self._restored_link(), deadline - loop.time())
            except (TimeoutError, asyncio.TimeoutError):
                pass  # the time is up: what went wrong before says more
            except OSError as error:
                failure = error
            else:
                if link.session.lost is None:
                    self._go_on(link)
                    return
                failure = link.session.lost  # since it was restored
            if loop.time() + delay >= deadline:
                self._give_up(policy, failure)
                return
            await asyncio.sleep(delay)

    def _give_up(self, policy: Reconnect, cause: Exception) -> None:
        text = f"{os.strerror(errno.ECONNRESET)}; gave up after {policy.give_up_s:g} s: {cause}"
        self._end(ConnectionResetError(errno.ECONNRESET, text))

    # Sending

    def request(
        self, topic: str, payload: bytes | None, nodeid: int = FLUX_NODEID_ANY, flags: int = 0, form: Form = "json"
    ) -> Call:
        """Queue a request; it is held while the connection is made again.

        Raises as `check` does, and BrokenPipeError when it is lost.
        """
        link = self.link
        if link is None:
            self._check_usable()
        else:
            link.check_place()
        call = Call() if form == "json" else Call.of_form(form)
        if link is None:
            self._held.append(_Held(topic, payload, call, nodeid, flags))
        else:
            _make(link, topic, payload, call, nodeid, flags)
        return call

    def tell(self, topic: str, body: dict[str, Any]) -> None:
        """Make a request whose answer nobody needs; not at all when there is no link."""
        link = self.link
        if link is not None and link.session.lost is None:
            link.session.abandon(link.request(topic, payload_frame(body), Call(), FLUX_NODEID_ANY, 0))

    async def standing(self) -> Link:
        """The link, once it stands and the socket takes more."""
        while (link := self.link) is None:
            self._check_usable()
            await self._reconnecting_done()
        link.check_place()
        if link.is_congested:
            await link.drain()
        return link

    async def _reconnecting_done(self) -> None:
        if self._reconnecting is not None:
            await asyncio.wait([self._reconnecting])

    def check(self) -> None:
        """Raises OSError (EINVAL) unless it was opened and is not closed, RuntimeError in another loop or process."""
        self._check_open()
        if self.link is not None:
            self.link.check_place()

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not yet closed; it may be lost, or be made again."""
        return bool(self.link or self._reconnecting) and not self._is_closed

    @property
    def state(self) -> str:
        """One word for people."""
        if not self.is_open:
            return "closed" if self._is_closed else "new"
        if self.link is None:
            return "reconnecting"
        return "connected" if self.link.session.lost is None else "lost"

    def _check_not_closed(self) -> None:
        if self._is_closed:
            raise OSError(errno.EINVAL, "the handle is closed")

    def _check_open(self) -> None:
        self._check_not_closed()
        if self.link is None and self._reconnecting is None:
            raise OSError(errno.EINVAL, "the handle is not connected: use `async with`, or flux.aio.connect()")

    def _check_usable(self) -> None:
        self._check_open()
        if self._reconnecting is not None and self._reconnecting.done():
            raise named_error(errno.EPIPE)

    # Receiving

    def _on_messages(self, link: Link, messages: deque[Packet]) -> None:
        while messages:
            packet = messages.popleft()
            if packet.type == FLUX_MSGTYPE_REQUEST:
                self._on_request(link, packet)
            elif packet.type == FLUX_MSGTYPE_EVENT:
                topic = packet.topic or ""
                for taker in self.event_takers:
                    if topic.startswith(taker.topic):
                        taker.put(packet)
            else:
                self.inbox.put(packet)

    def _on_request(self, link: Link, packet: Packet) -> None:
        topic = packet.topic or ""
        name = topic.partition(".")[0]
        service = self.services.get(name)
        if service is not None:
            service.take(link, packet)
        elif name in self.services:
            self.inbox.put(packet)
        elif not packet.flags & FLUX_MSGFLAG_NORESPONSE:
            text = f"Unknown service method '{topic}'"
            with contextlib.suppress(BrokenPipeError):
                link.send(wire.response_to(packet, payload_frame(text), errno.ENOSYS))

    # The end

    def _on_lost(self, link: Link, error: OSError) -> None:
        if link is not self.link:
            return  # it never stood, or was replaced
        if self._policy is None or not self._is_repeatable:
            self._end(error)
            return
        self._cut_services()
        self.link = None
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect_by_policy(self._policy))

    def _cut_services(self) -> None:
        for service in self.services.values():
            if service is not None:
                service.cut()

    def _end(self, error: OSError) -> None:
        """Tell everybody that nothing more comes."""
        self._cut_services()
        held, self._held = self._held, []
        for request in held:
            request.call.on_lost(error)
        self.inbox.end(error)
        for taker in list(self.event_takers):
            taker.end(error)
        for service in self.services.values():
            if service is not None:
                service.end(error)

    async def close(self) -> None:
        """Hang up, after the broker has taken what is queued if it does so within five seconds."""
        link = self.link
        if link is not None:
            link.check_place()
        try:
            if link is not None:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(link.drain(), _LINGER_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Hang up; whoever waits gets EINVAL."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        error = OSError(errno.EINVAL, "the handle was closed")
        link, self.link = self.link, None
        if link is not None:
            link.lose(error)
        self._end(error)


def _make(link: Link, topic: str, payload: bytes | None, call: Call, nodeid: int, flags: int) -> None:
    if flags & FLUX_MSGFLAG_NORESPONSE:
        link.request(topic, payload, None, nodeid, flags)
        call.set_result(None)
    else:
        call.sent(link.session, link.request(topic, payload, call, nodeid, flags))
