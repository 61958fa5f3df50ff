# SPDX-License-Identifier: Apache-2.0
"""What connections and sessions on asyncio share: requests with their answers, and tasks sent in batches.

When the connection breaks, a new one is tried for a while. Whoever waits for an answer is asked to `resume`
then, in the order of old; what is asked or submitted meanwhile comes behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import weakref
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from flamepy.aio.answer import Answer
from flamepy.core.errors import FORKED, lost_error
from flamepy.core.patience import Patience
from flamepy.core.requests import encode_request
from flamepy.core.types import FlameError, FlameErrorCode
from flux import packet as wire
from flux.aio.link import Link as FluxLink
from flux.aio.opening import open_transport
from flux.constants import FLUX_NODEID_ANY

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable

    from flux.connector import Stream
    from flux.packet import Packet

__all__ = ["Asking", "Batch", "Link", "open_stream"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_CONNECT_S = 10.0  # for an instance to welcome us
_LINGER_S = 5.0  # for the instance to take what was sent before the connection is closed
_BATCH_MAX_BYTES = 64 << 10  # gathered, and about so many: they are sent although the turn is not over
_OVERHEAD_BYTES = 32  # of a task besides its input


class Batch(Protocol):
    """Something that gathers and, when told to, sends what it gathered."""

    def send(self) -> None:
        """Make requests of it."""

    def fail(self, error: OSError) -> None:
        """The connection is lost."""


class Asking(Protocol):
    """Whoever waits for answers to one request. tag: the matchtag of that request."""

    tag: int

    def on_response(self, response: Packet) -> None:
        """An answer arrived."""

    def on_lost(self, error: OSError) -> None:
        """The connection broke: hand yourself to `Link.suspend`."""

    def resume(self) -> None:
        """Make the request, with `Link.request`: the first time, and once more on each new connection."""

    def fail(self, error: OSError) -> None:
        """No answer will come any more."""


async def open_stream(addr: str) -> Stream:
    """Connect. Raises OSError."""
    try:
        return (await asyncio.wait_for(open_transport(addr), _CONNECT_S)).stream
    except asyncio.TimeoutError:
        raise OSError(errno.ETIMEDOUT, f"no welcome within {_CONNECT_S:g} s") from None


class Link:
    """One connection after another to one address, for the loop it was made on and the process that made it.

    All that is submitted in one turn of the loop leaves in one write. A broken connection is made anew for
    reconnect_s seconds; then it is lost, which fails what waits with INTERNAL, and everything after it.
    """

    def __init__(self, addr: str, stream: Stream, reconnect_s: float) -> None:
        self.addr = addr
        self.reconnect_s = reconnect_s
        self.loop = asyncio.get_running_loop()
        self._gathered: list[Batch] = []
        self._gathered_bytes = 0
        self._is_send_due = False
        self._suspended: list[Asking] = []
        self._reconnecting: asyncio.Task[None] | None = None
        self._lost: OSError | None = None
        self._flux: FluxLink | None = self._connected(stream)
        """None while there is no connection and a new one is tried, and after the end."""
        _links.add(self)

    def _connected(self, stream: Stream) -> FluxLink:
        this = weakref.ref(self)  # the loop knows the connection, and must not keep alive what nobody else knows

        def on_lost(_: FluxLink, error: OSError) -> None:
            link = this()
            if link is not None:
                link._interrupt(error)

        return FluxLink(stream, _drop_messages, on_lost, wire.encode)

    # Requests

    async def ask(
        self,
        topic: str,
        request: msgspec.Struct | None,
        returns: type[_T],
        done_before: tuple[FlameErrorCode, Callable[[], Awaitable[_T]]] | None = None,
    ) -> _T:
        """A control request: JSON there and back. Raises FlameError, also as `encode_request` does.

        done_before: the error that a request which changes something meets the second time, and what to give
        then. It is used only if the connection broke while this request was under way.
        """
        payload = None if request is None else encode_request(topic, request)
        answer = Answer(self, topic, payload)
        try:
            data = await self.call(answer)
        except FlameError as error:
            if done_before is None or not answer.is_again or error.code is not done_before[0]:
                raise
        else:
            return msgspec.json.decode(data.rstrip(b"\0") or b"null", type=returns)
        return await done_before[1]()

    async def call(self, answer: Answer) -> bytes:
        """Make its request, behind all that was submitted before, and wait for it. Raises FlameError."""
        self.begin(answer)
        return await answer

    def begin(self, asking: Asking) -> None:
        """Make its request, now or when there is a connection again. Raises FlameError."""
        self.check()
        if self._flux is None:
            self._suspended.append(asking)
        else:
            self.send_gathered()
            asking.resume()

    def request(self, topic: str, payload: bytes | None, asking: Asking | None, flags: int = 0) -> int:
        """Queue a request on the connection, which stands; returns its matchtag."""
        assert self._flux is not None
        return self._flux.request(topic, payload, asking, FLUX_NODEID_ANY, flags)

    def give_up(self, asking: Asking) -> None:
        """Nobody waits for it any more; its last answer has not come yet."""
        if asking in self._suspended:
            self._suspended.remove(asking)
        elif self._flux is not None:
            self._flux.session.abandon(asking.tag)

    def end_stream(self, asking: Asking, topic: str, request: msgspec.Struct) -> None:
        """Nobody waits for these answers any more; the request given tells the instance so."""
        self.give_up(asking)
        if self._flux is not None and asking.tag:
            self.request(topic, encode_request(topic, request), None)

    def check(self) -> None:
        """Raise FlameError INVALID_STATE in another loop or process, INTERNAL when the connection is lost."""
        if self._lost is not None:
            raise lost_error(self.addr, self._lost)
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self.loop:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"the connection to {self.addr} belongs to another event loop; connect in each loop, or call over"
                " with asyncio.run_coroutine_threadsafe",
            )

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
        if self._flux is None or not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        self._gathered_bytes = 0
        for batch in gathered:
            batch.send()
        self._flux.flush()

    async def drain(self) -> None:
        """Wait until the socket has taken all that was sent. Raises FlameError, also when the connection is lost."""
        self.check()
        while self._reconnecting is not None:
            await asyncio.wait([self._reconnecting])
        self.send_gathered()
        if self._flux is not None:
            await self._flux.drain()
        self.check()

    # A new connection

    def suspend(self, asking: Asking, error: OSError) -> None:
        """Its connection broke: it is resumed on the next one, or fails."""
        if self.reconnect_s and self._lost is None:
            self._suspended.append(asking)
        else:
            asking.fail(error)

    def _interrupt(self, error: OSError) -> None:
        """The connection broke, and those who waited are suspended, or know it."""
        self._flux = None
        if not self.reconnect_s or self._lost is not None:
            self._end(error)
            return
        log.warning("connection to %s broke: %s; trying it for %g s", self.addr, error, self.reconnect_s)
        self._reconnecting = self.loop.create_task(self._reconnect(error))

    async def _reconnect(self, error: OSError) -> None:
        patience = Patience(self.reconnect_s)
        try:
            while (pause_s := patience.next_pause()) is not None:
                await asyncio.sleep(pause_s)
                try:
                    stream = await open_stream(self.addr)
                except OSError as failure:
                    error = failure
                else:
                    self._go_on(stream)
                    return
            self._end(error)
        except asyncio.CancelledError:  # the loop ends
            self._end(error)
            raise

    def _go_on(self, stream: Stream) -> None:
        if self._lost is not None:
            stream.close()
            return
        log.warning("connected to %s again", self.addr)
        self._flux, self._reconnecting = self._connected(stream), None
        suspended, self._suspended = self._suspended, []
        for asking in suspended:
            asking.resume()
        self.send_gathered()

    # The end

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended for good."""
        return self._lost is not None

    @property
    def is_reconnecting(self) -> bool:
        """Whether there is no connection, and a new one is tried."""
        return self._reconnecting is not None

    def _end(self, error: OSError) -> None:
        self._reconnecting = None
        if self._lost is None:
            self._lost = error
        failing: list[Asking | Batch] = [*self._suspended, *self._gathered]
        self._suspended.clear()
        self._gathered.clear()
        for one in dict.fromkeys(failing):
            one.fail(error)

    async def close(self) -> None:
        """Send what has gathered, then end the connection; what still waits fails. Any number of times."""
        if self._lost is not None:
            return
        self.check()
        try:
            self.send_gathered()
            if self._flux is not None:  # not `drain`, which would wait for a new connection
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._flux.drain(), _LINGER_S)
        finally:
            self._abort(OSError(errno.ESHUTDOWN, "the connection was closed"))

    def _abort(self, error: OSError) -> None:
        if self._lost is None:
            self._lost = error
            if self._reconnecting is not None:
                self._reconnecting.cancel()
            if self._flux is not None:
                self._flux.lose(error)
            self._end(error)

    def drop(self, error: OSError) -> None:
        """End it at once, and tell nobody: who waits is in another process, or their loop is gone."""
        if self._lost is None:
            self._lost = error
            flux, self._flux = self._flux, None
            if flux is not None:
                flux.drop(error)


def _drop_messages(_: FluxLink, messages: deque[Packet]) -> None:
    """Answers to requests that were given up."""
    messages.clear()


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for link in list(_links):
        link.drop(OSError(errno.ECHILD, FORKED))


os.register_at_fork(after_in_child=_leave_to_parent)
