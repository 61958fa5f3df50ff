# SPDX-License-Identifier: Apache-2.0
"""What connections and sessions on asyncio share: requests with their answers, and tasks sent in batches."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from flamepy.core.errors import FORKED, error_of, lost_error
from flamepy.core.types import FlameError, FlameErrorCode
from flux import packet as wire
from flux.aio.link import Link as FluxLink
from flux.constants import FLUX_MSGFLAG_STREAMING, FLUX_NODEID_ANY

if TYPE_CHECKING:
    from collections import deque

    from flux.connector import Stream
    from flux.packet import Packet
    from flux.session import Receiver

__all__ = ["Batch", "Link"]

_T = TypeVar("_T")
_LINGER_S = 5.0  # for the instance to take what was sent before the connection is closed
_BATCH_MAX_BYTES = 64 << 10  # gathered, and about so many: they are sent although the turn is not over
_OVERHEAD_BYTES = 32  # of a task besides its input

_encode_json = msgspec.json.Encoder().encode


class Batch(Protocol):
    """Something that gathers and, when told to, sends what it gathered."""

    def send(self) -> None:
        """Make requests of it."""

    def on_lost(self, error: OSError) -> None:
        """The connection ended before it could be sent."""


class _Answer(asyncio.Future[bytes]):
    """The payload of one answer. Raises FlameError for an error, or when the connection is lost."""

    link: Link
    tag = 0

    def on_response(self, response: Packet) -> None:
        if self.done():
            return
        if response.aux1:
            self.set_exception(error_of(response))
        else:
            self.set_result(response.payload or b"")

    def on_lost(self, error: OSError) -> None:
        if not self.done():
            self.set_exception(lost_error(self.link.addr, error))

    def cancel(self, msg: Any = None) -> bool:
        """Give the request up, at once: when the waiter wakes, its tag may be another's."""
        if not super().cancel(msg):
            return False
        self.link.abandon(self.tag)
        return True


class Link:
    """One connection, for the loop it was made on and the process that made it.

    All that is submitted in one turn of the loop leaves in one write. A lost connection fails what waits
    with INTERNAL, and everything after it.
    """

    def __init__(self, addr: str, stream: Stream) -> None:
        self.addr = addr
        self.loop = asyncio.get_running_loop()
        self._gathered: list[Batch] = []
        self._gathered_bytes = 0
        self._is_send_due = False
        gathered = self._gathered  # not self: the loop knows the flux link, and must not keep us alive

        def on_lost(_: FluxLink, error: OSError) -> None:
            for batch in gathered:
                batch.on_lost(error)
            gathered.clear()

        self._flux = FluxLink(stream, _drop_messages, on_lost, wire.encode)
        _links.add(self)

    # Requests

    async def ask(self, topic: str, request: msgspec.Struct | None, returns: type[_T]) -> _T:
        """A control request: JSON there and back."""
        payload = None if request is None else _encode_json(request) + b"\0"
        answer = await self.call(topic, payload)
        return msgspec.json.decode(answer.rstrip(b"\0") or b"null", type=returns)

    async def call(self, topic: str, payload: bytes | None) -> bytes:
        """Send a request, behind all that was submitted before, and wait for its answer. Raises FlameError."""
        self.check()
        answer = _Answer(loop=self.loop)
        answer.link = self
        self.send_gathered()
        answer.tag = self.request(topic, payload, answer)
        return await answer

    def open_stream(self, topic: str, request: msgspec.Struct, receiver: Receiver) -> int:
        """Send a streaming request; returns its matchtag. Raises FlameError."""
        self.check()
        self.send_gathered()
        return self.request(topic, _encode_json(request) + b"\0", receiver, FLUX_MSGFLAG_STREAMING)

    def request(self, topic: str, payload: bytes | None, receiver: Receiver | None, flags: int = 0) -> int:
        """Queue a request of a connection that stands; returns its matchtag."""
        return self._flux.request(topic, payload, receiver, FLUX_NODEID_ANY, flags)

    def abandon(self, tag: int) -> None:
        """Nobody waits for this request any more, whose last answer has not come yet."""
        self._flux.session.abandon(tag)

    def check(self) -> None:
        """Raise FlameError INVALID_STATE in another loop or process, INTERNAL when the connection is lost."""
        if self._flux.session.lost is not None:
            raise lost_error(self.addr, self._flux.session.lost)
        try:
            self._flux.check_place()
        except RuntimeError:
            if self._flux.is_inherited:
                raise lost_error(self.addr, OSError(errno.ECHILD, FORKED)) from None
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"the connection to {self.addr} belongs to another event loop; connect in each loop, or call over"
                " with asyncio.run_coroutine_threadsafe",
            ) from None

    # Tasks

    def gather(self, batch: Batch, size: int, *, is_first: bool, is_urgent: bool) -> None:
        """Note that size bytes more wait in the batch; is_first when nothing did.

        They leave at the end of this turn, or now if they are urgent, or many.
        """
        if is_first:
            self._gathered.append(batch)
        self._gathered_bytes += size + _OVERHEAD_BYTES
        if is_urgent or self._gathered_bytes >= _BATCH_MAX_BYTES:
            self.send_gathered()
        elif not self._is_send_due:
            self._is_send_due = True
            self.loop.call_soon(self._send_at_end_of_turn)

    def _send_at_end_of_turn(self) -> None:
        self._is_send_due = False
        self.send_gathered()

    def send_gathered(self) -> None:
        """Make requests of what has gathered, and write them."""
        if not self._gathered or self.is_lost:
            return
        for batch in self._gathered:
            batch.send()
        self._gathered.clear()
        self._gathered_bytes = 0
        self._flux.flush()

    async def drain(self) -> None:
        """Wait until the socket has taken all that was sent, or the connection is lost. Raises FlameError."""
        self.check()
        self.send_gathered()
        await self._flux.drain()

    # The end

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._flux.session.lost is not None

    async def close(self) -> None:
        """Send what has gathered, then end the connection; what still waits fails. Any number of times."""
        if self.is_lost:
            return
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.drain(), _LINGER_S)
        finally:
            self._flux.lose(OSError(errno.ESHUTDOWN, "the connection was closed"))

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a fork of the one that made it."""
        return self._flux.is_inherited

    def drop(self, error: OSError) -> None:
        """End the connection at once, and tell nobody."""
        self._flux.drop(error)


def _drop_messages(_: FluxLink, messages: deque[Packet]) -> None:
    """Answers to requests that were given up."""
    messages.clear()


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for link in list(_links):
        link.drop(OSError(errno.ECHILD, FORKED))


os.register_at_fork(after_in_child=_leave_to_parent)
