# SPDX-License-Identifier: Apache-2.0
"""The `shutdown` service: ends the instance for its owner, and tells how it goes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from hearth.broker.log_ring import severity_of, text_of
from hearth.broker.payloads import JsonPayload, encode_json
from hearth.broker.service import LATER, Service
from hearth.broker.streams import is_streaming

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["ShutdownService"]


class _Start(msgspec.Struct):
    loglevel: int


class ShutdownService(Service):
    """shutdown.start, streaming or not. begin is called for each request, so it is called again while we end."""

    def __init__(self, router: Router, begin: Callable[[], object]) -> None:
        super().__init__(router, "shutdown")
        self._begin = begin
        self._watchers = self.new_streams()
        self.add_method("start", JsonPayload(_Start), self._start)

    def show(self, line: bytes) -> None:
        """A line of the log: sent to who watches and wants lines as severe as this."""
        for request, loglevel in self._watchers.items():
            if severity_of(line) <= int(loglevel):
                self.router.respond(request, encode_json({"log": f"{text_of(line)}\n"}))

    def finish(self) -> None:
        """It is done but for the connections: who watches is told so."""
        for request in self._watchers:
            self._watchers.take(request, request.aux2)
            self.router.respond_error(request, errno.ENODATA)

    def _start(self, request: Packet, wanted: _Start) -> object:
        """Begin to end. Who does not stream is answered at once, and not told how it goes."""
        if is_streaming(request):
            self._watchers.open(request, str(wanted.loglevel))
        self._begin()
        return LATER if is_streaming(request) else None
