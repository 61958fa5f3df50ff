# SPDX-License-Identifier: Apache-2.0
"""The answers to a streaming request, one after the other."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.aio.forms import reader_of
from flux.aio.source import Source
from flux.aio.unread import Unread
from flux.constants import FLUX_MSGFLAG_STREAMING
from flux.results import error_of
from flux.util import payload_frame

if TYPE_CHECKING:
    from flux.aio.connection import Connection
    from flux.aio.forms import Form
    from flux.aio.link import Link
    from flux.packet import Packet

__all__ = ["Stream"]


class Stream(Source[Any]):
    """Made by `Flux.stream`. The request goes out when it is opened.

    Its answers are JSON unless another form is wanted. ENODATA ends it well, any other error is raised,
    ConnectionResetError when the connection is lost. Left before its end, it asks the service to stop.
    """

    def __init__(
        self, connection: Connection, topic: str, payload: Any, nodeid: int, cancel_topic: str, form: Form
    ) -> None:
        self._connection = connection
        self._topic, self._payload, self._nodeid = topic, payload_frame(payload), nodeid
        self._cancel_topic = cancel_topic
        self._read = reader_of(form)
        self._answers = Unread(topic)
        self._link: Link | None = None
        self._tag = 0

    async def _open(self) -> None:
        self._answers = Unread(self._topic)
        link = await self._connection.standing()
        self._tag = link.request(self._topic, self._payload, self, self._nodeid, FLUX_MSGFLAG_STREAMING)
        self._link = link

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is None or link.session.lost is not None:
            return
        link.session.abandon(self._tag)
        link.request(self._cancel_topic, payload_frame({"matchtag": self._tag}), None, self._nodeid, 0)

    def on_response(self, response: Packet) -> None:
        """Take an answer; an error is the last one."""
        error = error_of(response)
        if error is None:
            self._answers.put(response)
        else:
            self._link = None
            self._answers.end(error)

    def on_lost(self, error: OSError) -> None:
        """Take the end of the connection."""
        self._link = None
        self._answers.end(error)

    async def __anext__(self) -> Any:
        try:
            answer = await self._answers.get()
        except OSError as error:
            if error.errno == errno.ENODATA:
                raise StopAsyncIteration from None
            raise
        return self._read(answer)
