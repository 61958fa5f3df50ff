# SPDX-License-Identifier: Apache-2.0
"""A request that came to a service of ours, to be answered over the link it came from."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from flux import packet as wire
from flux.aio.forms import checked_json_of
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING, FLUX_ROLE_OWNER
from flux.message import Message
from flux.util import payload_frame

if TYPE_CHECKING:
    from flux.aio.link import Link
    from flux.packet import Packet

__all__ = ["Request"]


class Request:
    """A request with its answers: any number for a streaming request, which an error ends; one for others.

    Answers after the last one, to a sender that has left, or to one that wants none go nowhere.
    """

    __slots__ = ("_link", "is_finished", "packet")

    def __init__(self, link: Link, packet: Packet) -> None:
        self.packet = packet
        self._link = link
        self.is_finished = bool(packet.flags & FLUX_MSGFLAG_NORESPONSE)
        """Whether no answer is wanted any more."""

    @property
    def topic(self) -> str:
        """The service, a dot and the method."""
        return self.packet.topic or ""

    @property
    def message(self) -> Message:
        """All the rest: userid and rolemask of the sender, the raw payload, flags."""
        return Message(handle=self.packet)

    @property
    def payload(self) -> Any:
        """The JSON of the payload, None without one. Raises OSError (EPROTO) when it is none."""
        return checked_json_of(self.packet)

    @property
    def is_streaming(self) -> bool:
        """Whether its sender takes several answers."""
        return bool(self.packet.flags & FLUX_MSGFLAG_STREAMING)

    @property
    def sender(self) -> str | None:
        """The connection it came from, as its broker names it."""
        return self.packet.routes[-1] if self.packet.routes else None

    def is_of_same_sender(self, other: Request) -> bool:
        """Whether another request is from the same connection, and this one may speak for it."""
        is_allowed = self.packet.rolemask & FLUX_ROLE_OWNER or self.packet.userid == other.packet.userid
        return bool(is_allowed) and self.sender == other.sender

    async def respond(self, payload: Any = None) -> None:
        """Answer; waits while the socket is full.

        payload: see `flux.util.encode_payload`: a str is sent as it is, not as JSON. Raises TypeError for what
        JSON cannot say.
        """
        self.answer(payload)
        if self._link.is_congested:
            await self._link.drain()

    async def respond_error(self, errnum: int, text: str | bytes | None = None) -> None:
        """Answer with an error, which is the last answer; 0 as errnum becomes EINVAL."""
        self.refuse(errnum, text)
        if self._link.is_congested:
            await self._link.drain()

    def answer(self, payload: Any) -> None:
        """Queue an answer."""
        if not self.is_finished:
            frame = payload_frame(payload)
            self.is_finished = not self.packet.flags & FLUX_MSGFLAG_STREAMING
            self._send(frame, 0)

    def refuse(self, errnum: int, text: str | bytes | None = None) -> None:
        """Queue an error as the last answer."""
        if not self.is_finished:
            self.is_finished = True
            self._send(payload_frame(text), errnum or errno.EINVAL)

    def finish(self, result: Any) -> None:
        """Queue what a method returned; the end of a stream after it, if anything was."""
        if not self.packet.flags & FLUX_MSGFLAG_STREAMING:
            self.answer(result)
            return
        if result is not None:
            self.answer(result)
        self.refuse(errno.ENODATA)

    def fail(self, error: Exception) -> None:
        """Queue what a method raised: the errno and text of an OSError, EIO and the exception's text for others."""
        if isinstance(error, OSError) and error.errno:
            self.refuse(error.errno, error.strerror or os.strerror(error.errno))
        else:
            self.refuse(errno.EIO, f"{type(error).__name__}: {error}")

    def _send(self, payload: bytes | None, errnum: int) -> None:
        if self._link.session.lost is None:
            self._link.send(wire.response_to(self.packet, payload, errnum))
