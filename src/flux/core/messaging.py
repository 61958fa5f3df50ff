# SPDX-License-Identifier: Apache-2.0
"""The part of a handle that sends and receives messages."""

from __future__ import annotations

import contextlib
import errno
import functools
import select
from threading import get_ident
from typing import TYPE_CHECKING, Any

from flux import packet as wire
from flux.constants import (
    FLUX_MATCHTAG_NONE,
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGTYPE_ANY,
    FLUX_NODEID_ANY,
    FLUX_O_NONBLOCK,
    FLUX_POLLERR,
    FLUX_POLLIN,
    FLUX_POLLOUT,
    FLUX_RQ_HEAD,
    FLUX_RQ_TAIL,
)
from flux.core.dispatch import Dispatcher
from flux.core.topics import topic_matcher
from flux.errors import named_error
from flux.message import Message, packet_of
from flux.rpc import RPC
from flux.util import payload_frame, topic_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flux.core.calls import FutureCalls
    from flux.core.link import Link

__all__ = ["Messaging"]

_DEFERRED_MAX = 256  # messages held back before they are sent although the turn is not over


class Messaging:
    """Requests, responses and bare messages over one link.

    link: the connection. dispatcher: its messages' way to the reactor, made when first used, since a
    handle that only makes blocking calls needs none.
    """

    link: Link
    flags: int

    def __init__(self, link: Link, flags: int) -> None:
        self.link, self.flags = link, flags
        self._dispatcher: Dispatcher | None = None
        self._asides: dict[int, FutureCalls] = {}  # by thread
        self._deferred = 0

    @property
    def dispatcher(self) -> Dispatcher:
        """Where watchers and futures of this handle are called from. Raises OSError (EINVAL) for a closed handle."""
        if self._dispatcher is None:
            with self.link.lock:
                self.link.check_usable()
                self._dispatcher = self._dispatcher or Dispatcher(self.link)
        return self._dispatcher

    @property
    def calls(self) -> FutureCalls:
        """Who calls the futures that get their callbacks now: the dispatcher, unless within `calling_aside`."""
        self.link.check_process()
        return (self._asides.get(get_ident()) if self._asides else None) or self.dispatcher

    @contextlib.contextmanager
    def calling_aside(self, aside: FutureCalls) -> Iterator[None]:
        """Have what this thread sets up inside called from `aside`, while the handle's own reactor stands still."""
        me = get_ident()
        outer = self._asides.get(me)
        self._asides[me] = aside
        try:
            yield
        finally:
            if outer is None:
                del self._asides[me]
            else:
                self._asides[me] = outer

    def writes_at_once(self) -> bool:
        """Whether a message is to be written now; the thread that runs the reactor writes at the end of a turn."""
        if self._dispatcher is not None and self._dispatcher.reactor.runs_here:
            self._deferred += 1
            if self._deferred < _DEFERRED_MAX:
                return False
        self._deferred = 0
        return True

    def rpc(self, topic: str | bytes, payload: Any = None, nodeid: int = FLUX_NODEID_ANY, flags: int = 0) -> RPC:
        """Send a request; the RPC is the future of its answer. See there for payload, flags and errors."""
        return RPC(self, topic, payload, nodeid, flags)

    def _call(self, topic: str, payload: Any) -> Any:
        """Make a request and wait for its JSON; an error has the text of a direct call, the service's is its cause."""
        rpc = self.rpc(topic, payload)
        try:
            return rpc.get()
        except OSError as error:
            raise named_error(error.errno or errno.EIO) from error

    def send(self, message: Message, flags: int = 0) -> int:
        """Send any message; returns 0 when it is written, or queued inside a callback of the reactor.

        flags: 0 or FLUX_O_NONBLOCK, else OSError (EINVAL); with NONBLOCK, BlockingIOError when the
        connection takes nothing now. Raises BrokenPipeError when it is lost.
        """
        return self._send(packet_of(message), flags)

    def _send(self, packet: wire.Packet, flags: int = 0) -> int:
        flags |= self.flags & FLUX_O_NONBLOCK
        if flags & ~FLUX_O_NONBLOCK:
            raise named_error(errno.EINVAL)
        if flags and not self.link.ready_events() & select.POLLOUT:
            raise named_error(errno.EAGAIN)
        self.link.send(packet, at_once=self.writes_at_once())
        return 0

    def recv(
        self,
        type_mask: int = FLUX_MSGTYPE_ANY,
        match_tag: int = FLUX_MATCHTAG_NONE,
        topic_glob: str | bytes | None = None,
        flags: int = 0,
    ) -> Message:
        """Wait for the first message that matches; the others keep their place.

        match_tag: of a response, 0 for any message. topic_glob: see `flux.core.topics`, None for any.
        flags: 0 or FLUX_O_NONBLOCK, else OSError (EINVAL); with NONBLOCK, BlockingIOError when no such
        message is there. Raises ConnectionResetError when the connection is lost.
        """
        if flags & ~FLUX_O_NONBLOCK:
            raise named_error(errno.EINVAL)
        matches = _matcher(type_mask, match_tag, "" if topic_glob is None else topic_text(topic_glob))
        may_wait = not (flags | self.flags) & FLUX_O_NONBLOCK
        packet = self.link.receive(matches, may_wait=may_wait)
        if packet is None:
            raise named_error(errno.EAGAIN)
        return Message(handle=packet)

    def requeue(self, message: Message, flags: int) -> int:
        """Put a message back, FLUX_RQ_HEAD before or FLUX_RQ_TAIL behind those that wait; returns 0."""
        if flags not in (FLUX_RQ_HEAD, FLUX_RQ_TAIL):
            raise named_error(errno.EINVAL)
        self.link.put_back(packet_of(message), first=flags == FLUX_RQ_HEAD)
        return 0

    def respond(self, message: Message, payload: Any = None) -> int:
        """Answer a request; nothing happens if it wants no answer. Returns 0.

        Raises OSError (EINVAL) for None, TypeError for what is no Message or a payload JSON cannot say.
        """
        return self._respond(packet_of(message), payload_frame(payload), 0)

    def respond_error(self, message: Message, errnum: int, text: str | bytes | None) -> int:
        """Answer a request with an error; 0 as errnum becomes EINVAL, None as text sends none. Returns 0."""
        return self._respond(packet_of(message), payload_frame(text), errnum or errno.EINVAL)

    def _respond(self, asked: wire.Packet, payload: bytes | None, errnum: int) -> int:
        if not asked.flags & FLUX_MSGFLAG_NORESPONSE:
            self.link.send(wire.response_to(asked, payload, errnum), at_once=self.writes_at_once())
        return 0

    def pollfd(self) -> int:
        """A descriptor that becomes readable when something arrives; look at `pollevents` before waiting for it."""
        self.link.check_process()
        return self.link.fileno()

    def pollevents(self) -> int:
        """What needs no wait: FLUX_POLLIN recv, FLUX_POLLOUT send, FLUX_POLLERR finding the connection lost."""
        self.link.check_process()
        if self.link.lost is not None:
            return FLUX_POLLERR | (FLUX_POLLIN if self.link.inbox else 0)
        ready = self.link.ready_events()
        events = FLUX_POLLIN if self.link.inbox or ready & select.POLLIN else 0
        events |= FLUX_POLLOUT if ready & select.POLLOUT else 0
        return events | (FLUX_POLLERR if ready & (select.POLLERR | select.POLLHUP) else 0)

    def flags_get(self) -> int:
        """The FLUX_O_* flags the handle was opened with."""
        return self.flags

    def matchtag_avail(self) -> int:
        """How many tags are free in the pool, which grows when it runs out; for finding leaked futures."""
        return self.link.session.tags_available


@functools.lru_cache(maxsize=256)
def _matcher(type_mask: int, match_tag: int, topic_glob: str) -> Callable[[wire.Packet], bool]:
    """A test for messages, as `recv` wants them."""
    matches_topic = topic_matcher(topic_glob)

    def matches(packet: wire.Packet) -> bool:
        if not packet.type & type_mask or not matches_topic(packet.topic):
            return False
        return not match_tag or (packet.aux2 == match_tag and not packet.routes)

    return matches
