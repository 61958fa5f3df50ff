# SPDX-License-Identifier: Apache-2.0
"""The future of one answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flamepy.core.errors import error_of, lost_error

if TYPE_CHECKING:
    from flamepy.aio.link import Link
    from flux.packet import Packet

__all__ = ["Answer"]


class Answer(asyncio.Future[bytes]):
    """The payload of one answer. Raises FlameError for an error, or when the connection is lost."""

    def __init__(self, link: Link, topic: str, payload: bytes | None) -> None:
        super().__init__(loop=link.loop)
        self._link = link
        self._topic = topic
        self._payload = payload
        self.tag = 0
        self.is_again = False
        """Whether it was asked more than once, so that it may have been carried out more than once."""

    def resume(self) -> None:
        """Ask, or ask again."""
        self.tag = self._link.request(self._topic, self._payload, self)

    def on_response(self, response: Packet) -> None:
        """Take the answer."""
        if self.done():
            return
        if response.aux1:
            self.set_exception(error_of(response))
        else:
            self.set_result(response.payload or b"")

    def on_lost(self, error: OSError) -> None:
        """Wait for another connection."""
        self.is_again = True
        self._link.suspend(self, error)

    def fail(self, error: OSError) -> None:
        """Take the end of the connection for an answer."""
        if not self.done():
            self.set_exception(lost_error(self._link.addr, error))

    def cancel(self, msg: Any = None) -> bool:
        """Give the request up, at once: when the waiter wakes, its tag may be another's."""
        if not super().cancel(msg):
            return False
        self._link.give_up(self)
        return True
