# SPDX-License-Identifier: Apache-2.0
"""The `log` service: what the instance's programs have to say, kept for a while and shown to who follows."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_MATCHTAG_NONE
from hearth.broker.attributes import LOG_STDERR_LEVEL
from hearth.broker.credentials import ServiceError
from hearth.broker.log_ring import LogRing, severity_of, text_of
from hearth.broker.payloads import JsonPayload, no_payload, raw_payload
from hearth.broker.service import LATER, Service
from hearth.broker.streams import is_streaming

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.broker.attributes import Attributes
    from hearth.broker.router import Router

__all__ = ["LogService"]


class _Dmesg(msgspec.Struct):
    follow: bool
    nobacklog: bool = False


class _Cancel(msgspec.Struct):
    matchtag: int


class _Attribute(msgspec.Struct):
    name: str
    value: str


class LogService(Service):
    """log.append, log.dmesg, log.clear, log.cancel, log.setattr, log.stats-get, all for the owner.

    show is given each line that is at least as severe as the attribute log-stderr-level, to be read by people.
    """

    def __init__(self, router: Router, attributes: Attributes, show: Callable[[str], object]) -> None:
        super().__init__(router, "log")
        self._attributes = attributes
        self._show = show
        self._on_line: list[Callable[[bytes], object]] = []
        self._ring = LogRing()
        self._followers = self.new_streams()
        self.add_method("append", raw_payload, self._append)
        self.add_method("dmesg", JsonPayload(_Dmesg), self._dmesg)
        self.add_method("clear", no_payload, self._clear)
        self.add_method("cancel", JsonPayload(_Cancel), self._cancel)
        self.add_method("setattr", JsonPayload(_Attribute), self._set_attribute)
        self.add_method("stats-get", no_payload, self._stats)

    def _append(self, request: Packet, line: bytes) -> object:
        """Take one line. Who gave the request no tag reads no answer, and gets none."""
        kept = self.keep(line)
        if severity_of(kept) <= self._shown_level():
            self._show(text_of(kept))
        return LATER if request.aux2 == FLUX_MATCHTAG_NONE else None

    def keep(self, line: bytes) -> bytes:
        """Take a line without showing it: one of the daemon's own, which are on its stderr already."""
        kept = self._ring.append(line)
        for follower in self._followers:
            self.router.respond(follower, kept + b"\0")
        for call in self._on_line:
            call(kept)
        return kept

    def on_line(self, call: Callable[[bytes], object]) -> None:
        """Call with each line from now on."""
        self._on_line.append(call)

    def _shown_level(self) -> int:
        """The least severe level that is shown; nothing is while the attribute is removed."""
        try:
            value, _ = self._attributes.get(LOG_STDERR_LEVEL)
        except ServiceError:
            return -1
        return int(value)

    def _dmesg(self, request: Packet, wanted: _Dmesg) -> object:
        """The lines there are, and with follow those to come; ENODATA at the end. EPROTO if not streaming."""
        if not is_streaming(request):
            raise ServiceError(errno.EPROTO)
        if wanted.follow:
            self._followers.open(request)
        if not wanted.nobacklog:
            for line in self._ring.lines():
                self.router.respond(request, line + b"\0")
        if not wanted.follow:
            raise ServiceError(errno.ENODATA)
        return LATER

    def _clear(self, request: Packet, nothing: None) -> None:
        self._ring.clear()

    def _cancel(self, request: Packet, cancelled: _Cancel) -> None:
        """End the sender's dmesg with this tag; if there is none, nothing happens."""
        follower = self._followers.take(request, cancelled.matchtag)
        if follower is not None:
            self.router.respond_error(follower, errno.ENODATA)

    def _set_attribute(self, request: Packet, wanted: _Attribute) -> None:
        """What attr.set does, for the one attribute that is the log's. ENOENT for another."""
        if wanted.name != LOG_STDERR_LEVEL:
            raise ServiceError(errno.ENOENT)
        self._attributes.set(wanted.name, wanted.value)

    def _stats(self, request: Packet, nothing: None) -> dict[str, int]:
        """Every line is ours: there is no broker below us that would send some."""
        count = self._ring.count
        return {"ring-used": len(self._ring), "count": count, "local": count, "remote": 0}
