# SPDX-License-Identifier: Apache-2.0
"""One connection to an instance, shared by all threads of this process.

Any thread may send; one I/O thread receives, and resolves what answers belong to. Nothing is sent
per task: callers append to a batch, and whoever comes next (the I/O thread, or a caller that is about
to wait anyway) writes all that has gathered in one system call.

When the connection breaks, the I/O thread tries to make a new one. Until it has, requests gather as before;
who waits for an answer asks for it again.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import weakref
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import msgspec

from flamepy.core.direct import DirectLines
from flamepy.core.errors import FORKED, error_of, lost_error
from flamepy.core.patience import Patience
from flamepy.core.requests import encode_request
from flamepy.core.types import FlameError, FlameErrorCode
from flux import packet as wire
from flux.connector import READ_BYTES, connect
from flux.constants import FLUX_MSGFLAG_STREAMING
from flux.session import Receiver, Session, deliver

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from flux.packet import Packet

__all__ = ["Batch", "Link", "Resumable"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
CONNECT_S = 10.0
"""How long an instance may take to welcome us."""

UNSENT_MAX_BYTES = 64 << 20
"""Beyond this, callers wait until the instance has taken some: a program that submits faster than the
instance reads is slowed down instead of growing."""


class Batch(Protocol):
    """Something that gathers and, when told to, sends what it gathered as one request."""

    def send(self) -> None:
        """Called with the link's lock held: use `Link.request` for each message."""

    def on_lost(self, error: OSError) -> None:
        """The connection ended before it could be sent."""


@runtime_checkable
class Resumable(Protocol):
    """A receiver that survives its connection."""

    def resume(self) -> None:
        """Ask again, on the new connection; the link's lock is held."""


class _Call:
    """One blocking request: a lock that the answer unlocks."""

    __slots__ = ("_link", "_payload", "_topic", "_unanswered", "error", "is_again", "response")

    def __init__(self, link: Link, topic: str, payload: bytes | None) -> None:
        self._link = link
        self._topic = topic
        self._payload = payload
        self.is_again = False
        """Whether it was asked more than once, so that it may have been carried out more than once."""
        self._unanswered = threading.Lock()
        self._unanswered.acquire()
        self.response: Packet | None = None
        self.error: OSError | None = None

    def send(self) -> None:
        self._link.request(self._topic, self._payload, self)

    def resume(self) -> None:
        self.is_again = True
        self.send()

    def on_response(self, response: Packet) -> None:
        self.response = response
        self._unanswered.release()

    def on_lost(self, error: OSError) -> None:
        self.error = error
        self._unanswered.release()

    def wait(self) -> None:
        self._unanswered.acquire()


class Link:
    """A connection with its I/O thread.

    Thread-safe. After a fork the child's copy is dead (it raises INVALID_STATE) and the parent's goes
    on untouched. A broken connection is made anew for reconnect_s seconds; then it is lost, which fails what
    waits with INTERNAL, and everything after it.
    """

    def __init__(self, uri: str, reconnect_s: float = 0.0) -> None:
        """Connect. Raises OSError as `flux.connector.connect` does."""
        self.uri = uri
        self.reconnect_s = reconnect_s
        self.direct = DirectLines(uri, reconnect_s)
        """For callers that wait for one task."""
        self._socket: socket.socket | None = self._connect()
        """None while there is no connection and a new one is tried."""
        self._session = Session()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._gathered: list[Batch] = []
        self._gathered_bytes = 0
        self._unsent: list[memoryview] = []
        self._is_awake = False
        self._is_closing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name=f"flamepy {uri}", daemon=True)
        self._thread.start()
        _links.add(self)

    def _connect(self) -> socket.socket:
        connected = connect(self.uri, CONNECT_S)
        connected.setblocking(False)
        return connected

    # -- sending

    def call(
        self,
        topic: str,
        payload: bytes | None,
        returns: Callable[[bytes], _T],
        done_before: tuple[FlameErrorCode, Callable[[], _T]] | None = None,
    ) -> _T:
        """Send a request and wait for its answer, read by returns. Raises FlameError.

        done_before: the error that a request which changes something meets the second time, and what to give
        then. It is used only if the connection broke while this request was under way.
        """
        self.check_may_wait(topic)
        call = _Call(self, topic, payload)
        with self._lock:
            self._collect()  # what was submitted before goes before
            call.send()
            self._flush()
        call.wait()
        if call.response is None:
            raise lost_error(self.uri, call.error)
        if not call.response.aux1:
            return returns(call.response.payload or b"")
        error = error_of(call.response)
        if done_before is not None and call.is_again and error.code is done_before[0]:
            return done_before[1]()
        raise error

    def check_may_wait(self, what: str) -> None:
        """Raise FlameError INVALID_STATE on the I/O thread: whoever waits there waits for himself."""
        if threading.current_thread() is self._thread:  # its number may be another's, once it has ended
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"{what} waits for an answer and was called from a future's callback, which runs on the thread"
                " that receives answers; call it from another thread",
            )

    def ask(
        self,
        topic: str,
        request: msgspec.Struct | None,
        returns: type[_T],
        done_before: tuple[FlameErrorCode, Callable[[], _T]] | None = None,
    ) -> _T:
        """A control request: JSON there and back. See `call` and `encode_request`."""
        payload = None if request is None else encode_request(topic, request)

        def read(data: bytes) -> _T:
            return msgspec.json.decode(data.rstrip(b"\0") or b"null", type=returns)

        return self.call(topic, payload, read, done_before)

    def open_stream(self, topic: str, request: msgspec.Struct, receiver: Receiver) -> int:
        """Send a streaming request whose answers go to the receiver, on the I/O thread. Returns its matchtag."""
        payload = encode_request(topic, request)
        with self._lock:
            self._collect()
            tag = self.request(topic, payload, receiver, FLUX_MSGFLAG_STREAMING)
            self._flush()
        return tag

    def request_stream(self, topic: str, request: msgspec.Struct, receiver: Receiver) -> int:
        """As `open_stream`, for who holds the lock."""
        return self.request(topic, encode_request(topic, request), receiver, FLUX_MSGFLAG_STREAMING)

    def end_stream(self, tag: int, topic: str, request: msgspec.Struct) -> None:
        """Nobody waits for the answers to a streaming request any more; the request given tells the instance so."""
        with self._lock:
            self._session.abandon(tag)
            if self._session.lost is None:
                self.request(topic, encode_request(topic, request), None)
                self._flush()

    @property
    def lock(self) -> threading.Lock:
        """Held by a batch while it gathers."""
        return self._lock

    def request(self, topic: str, payload: bytes | None, receiver: Receiver | None, flags: int = 0) -> int:
        """Queue a request; the lock must be held. Raises FlameError if the connection is gone."""
        try:
            return self._session.request(topic, payload, receiver, flags=flags)
        except BrokenPipeError:
            raise lost_error(self.uri, self._session.lost) from None

    def check(self) -> None:
        """Raise FlameError if the connection is gone."""
        if self._session.lost is not None:
            raise lost_error(self.uri, self._session.lost)

    def gather(self, batch: Batch, size: int, *, is_first: bool, is_urgent: bool) -> None:
        """Note that size bytes more wait in the batch; is_first when nothing did. The lock must be held.

        Urgent ones are sent at once, on this thread; others when the I/O thread comes round. Lets go of
        the lock and waits while too much waits already.
        """
        if is_first:
            self._gathered.append(batch)
        self._gathered_bytes += size
        if is_urgent:
            self._flush()
        elif not self._is_awake:
            self._is_awake = True
            os.write(self._wake_write, b"!")
        if self._gathered_bytes > UNSENT_MAX_BYTES and threading.current_thread() is not self._thread:
            self._room.wait_for(lambda: self._gathered_bytes <= UNSENT_MAX_BYTES)

    def gather_more(self, batch: Batch) -> None:
        """Have the batch sent soon, whatever is in it by then. The lock must be held; never waits."""
        self._gathered.append(batch)
        if not self._is_awake:
            self._is_awake = True
            os.write(self._wake_write, b"!")

    def flush(self) -> None:
        """Send what has gathered, on this thread: for a caller that will wait for an answer anyway."""
        with self._lock:
            self._flush()

    def _collect(self) -> None:
        """Make requests of what has gathered; the lock must be held."""
        if self._gathered and self._session.lost is None:
            gathered, self._gathered = self._gathered, []
            for batch in gathered:
                batch.send()

    def _flush(self) -> None:
        """Write all that waits, as far as the socket takes it; the lock must be held."""
        self._collect()
        if self._socket is None:
            return
        data = self._session.bytes_to_send()
        if data:
            self._unsent.append(memoryview(data))
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                else:
                    del self._unsent[0]
        except BlockingIOError:
            if not self._is_awake:
                self._is_awake = True
                os.write(self._wake_write, b"!")
        except OSError:
            self._unsent.clear()  # the reader meets the same end and tells everyone
        if self._gathered_bytes and not self._unsent:
            self._gathered_bytes = 0
            self._room.notify_all()

    # -- the I/O thread

    def _run(self) -> None:
        error = OSError(errno.EIO, "its thread was ended by a future's callback")
        try:
            while True:
                assert self._socket is not None
                error = self._serve(self._socket)
                if not self._is_closing and self.reconnect_s:
                    log.warning("connection to %s broke: %s; trying it for %g s", self.uri, error, self.reconnect_s)
                    self._interrupt(error)
                    error = self._reconnect() or error
                if self._socket is None or self._is_closing or not self.reconnect_s:
                    return
        finally:
            self._end(error)

    def _serve(self, connected: socket.socket) -> OSError:
        """Send and receive until there is a reason not to; returns it."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        error: OSError | None = None
        while error is None and not self._is_closing:
            poll.register(connected, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            ready = dict(poll.poll())
            with self._lock:
                if self._wake_read in ready:
                    os.read(self._wake_read, 64)
                    self._is_awake = False
                self._flush()
            if ready.get(connected.fileno(), 0) & ~select.POLLOUT:
                error = self._receive(connected)
        return error or OSError(errno.ESHUTDOWN, "the connection was closed")

    def _interrupt(self, error: OSError) -> None:
        """Begin a new conversation: those who wait ask again at once, so that they come first in it."""
        with self._lock:
            assert self._socket is not None
            self._socket.close()
            self._socket = None
            self._unsent.clear()
            self._is_awake = True  # we look by ourselves: nobody need wake us
            waiting = dict.fromkeys(self._session.cut(error))
            self._session = Session()
            for receiver in waiting:
                if isinstance(receiver, Resumable):
                    receiver.resume()
        for receiver in waiting:
            if not isinstance(receiver, Resumable):
                receiver.on_lost(error)

    def _reconnect(self) -> OSError | None:
        """Connect again. Returns why that cannot be done, if it cannot; then there is no socket."""
        patience = Patience(self.reconnect_s)
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        error: OSError | None = None
        while not self._is_closing and (pause_s := patience.next_pause()) is not None:
            if poll.poll(pause_s * 1000):
                os.read(self._wake_read, 64)
            try:
                connected = self._connect()
            except OSError as failure:
                error = failure
                continue
            with self._lock:
                self._socket = connected
                self._is_awake = False
                self._flush()
            log.warning("connected to %s again", self.uri)
            return None
        return error

    def _receive(self, connected: socket.socket) -> OSError | None:
        """Read once and hand over what it completes. Returns why the connection ended, if it did."""
        try:
            data = connected.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return error
        if not data:
            return OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        broken: OSError | None = None
        try:
            packets = self._session.decode(data)
        except wire.StreamError as error:
            packets, broken = error.packets, error
        with self._lock:
            deliveries = self._session.sort(packets)
        deliver(deliveries)
        return broken

    def _end(self, error: OSError) -> None:
        with self._lock:
            waiting: list[Receiver | Batch] = [*self._session.cut(error), *self._gathered]
            self._gathered.clear()
            if self._socket is not None:
                self._socket.close()
            self._gathered_bytes = 0
            self._room.notify_all()
        self.direct.close()
        for receiver in dict.fromkeys(waiting):
            receiver.on_lost(error)

    # -- the end

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._session.lost is not None

    def close(self) -> None:
        """Send what has gathered, then end the connection; what still waits fails."""
        with self._lock:
            self._flush()
            self._is_closing = True
            if self._session.lost is None:
                os.write(self._wake_write, b"!")
        if threading.current_thread() is not self._thread and self._thread.is_alive():
            self._thread.join()
        self.direct.close()
        self._close_pipe()

    def _forked(self) -> None:
        """In the child: this copy is nobody's connection. The parent's socket is the parent's."""
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._session.cut(OSError(errno.ECHILD, FORKED))
        self._gathered.clear()
        self.direct.close()
        if self._socket is not None:
            self._socket.close()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._wake_read >= 0:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1


_links: weakref.WeakSet[Link] = weakref.WeakSet()


def _forget_links_after_fork() -> None:
    for link in list(_links):
        link._forked()


os.register_at_fork(after_in_child=_forget_links_after_fork)
