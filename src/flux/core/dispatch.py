# SPDX-License-Identifier: Apache-2.0
"""Who gets a message when the reactor runs.

A response that a future waits for never comes here: it goes to the future, whose callback takes
its turn where the response stood among the messages. For the others:

* a request whose topic is the exact topic of request-only watchers goes to the newest of them;
* if that one is stopped or there is none, a request or response goes to the first running watcher
  that matches, newest first;
* an event goes to all that match, newest first.

A request that nobody takes is answered with ENOSYS, one whose sender lacks the role with EPERM.
Other messages that nobody takes are dropped.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_ROLE_OWNER,
)
from flux.core.calls import FutureCalls
from flux.core.topics import is_glob
from flux.message import Message
from flux.util import payload_frame

if TYPE_CHECKING:
    from flux.core.link import Link
    from flux.core.message_watcher import MessageWatcher

__all__ = ["Dispatcher"]

_TEXT_MAX = 255  # bytes of an error text
_AHEAD_MAX = 1024  # messages that wait: then no more are read


class Dispatcher(FutureCalls):
    """The message side of one handle's reactor, which it owns."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._exact: dict[str, list[MessageWatcher]] = {}  # oldest first, as the other list
        self._others: list[MessageWatcher] = []
        self._running = 0
        self._turns_off = 0  # in which nothing is read, so that those who wait are handled

    def add(self, watcher: MessageWatcher) -> None:
        """Consider a watcher from now on, if it is started."""
        self._siblings(watcher).append(watcher)

    def remove(self, watcher: MessageWatcher) -> None:
        """Forget a watcher."""
        siblings = self._siblings(watcher)
        siblings.remove(watcher)
        if not siblings and siblings is not self._others:
            del self._exact[watcher.topic_glob]

    def _siblings(self, watcher: MessageWatcher) -> list[MessageWatcher]:
        if watcher.type_mask == FLUX_MSGTYPE_REQUEST and not is_glob(watcher.topic_glob):
            return self._exact.setdefault(watcher.topic_glob, [])
        return self._others

    def watcher_started(self) -> None:
        """One more watcher takes messages."""
        self._running += 1
        self.reactor.wake_elsewhere()

    def watcher_stopped(self) -> None:
        """One fewer does."""
        self._running -= 1

    def _is_wanted(self) -> bool:
        return self._running > 0 or super()._is_wanted()

    def _read(self, events: int) -> None:
        """Read, unless too much waits: then the socket fills up, and the peer has to wait or to give us up.

        A turn handles a message, so what waits has had its turn after as many turns, also if it was put back.
        """
        inbox = self._link.inbox
        if self._turns_off and len(inbox) > _AHEAD_MAX:
            self._turns_off -= 1
            return
        super()._read(events)
        self._turns_off = max(0, len(inbox) - _AHEAD_MAX)

    # What the reactor asks of its source

    def has_work(self) -> bool:
        """Whether a message, a future's callback, or the end of the connection is to be handled."""
        return bool(self._link.inbox.packets and self._is_wanted()) or super().has_work()

    def dispatch(self) -> None:
        """Handle one message and the futures that are due; a lost connection stops the reactor after the last."""
        packet = self._link.take() if self._is_wanted() else None
        if packet is not None:
            self._deliver(packet)
        super().dispatch()

    def _is_drained(self) -> bool:
        return not self._link.inbox and super()._is_drained()

    def _is_due(self, arrived: int) -> bool:
        return arrived <= self._link.inbox.taken

    def _deliver(self, packet: wire.Packet) -> None:
        if packet.type == FLUX_MSGTYPE_EVENT:
            for watcher in reversed(tuple(self._others)):
                if watcher.is_active and watcher.matches(packet) and watcher.lets_in(packet):
                    self._call(watcher, packet)
            return
        taker = self._taker(packet)
        if taker is None:
            self._refuse(packet, errno.ENOSYS, f"Unknown service method '{packet.topic or ''}'")
        elif taker.lets_in(packet):
            self._call(taker, packet)
        elif taker.rolemask == FLUX_ROLE_OWNER:
            self._refuse(packet, errno.EPERM, "Request requires owner credentials")
        else:
            self._refuse(packet, errno.EPERM, "Request rejected due to insufficient privilege")

    def _taker(self, packet: wire.Packet) -> MessageWatcher | None:
        if packet.type == FLUX_MSGTYPE_REQUEST:
            exact = self._exact.get(packet.topic or "")
            if exact and exact[-1].is_active and exact[-1].matches_tag(packet):
                return exact[-1]
        running = (watcher for watcher in reversed(self._others) if watcher.is_active)
        return next((watcher for watcher in running if watcher.matches(packet)), None)

    def _call(self, watcher: MessageWatcher, packet: wire.Packet) -> None:
        if watcher.callback is not None:
            self.reactor.invoke(watcher.callback, watcher.flux_handle, watcher, Message(handle=packet), watcher.args)

    def _refuse(self, packet: wire.Packet, errnum: int, text: str) -> None:
        if packet.type != FLUX_MSGTYPE_REQUEST or packet.flags & FLUX_MSGFLAG_NORESPONSE:
            return
        text_bytes = text.encode("utf-8", "surrogateescape")[:_TEXT_MAX]
        with contextlib.suppress(BrokenPipeError):
            self._link.send(wire.response_to(packet, payload_frame(text_bytes), errnum), at_once=False)
