# SPDX-License-Identifier: Apache-2.0
"""The bytes of one connection: between a blocking stream and the protocol state behind it.

A call that waits blocks in one plain system call. Nothing here keeps a reference to the handle,
so that the connection closes with the handle's last reference.

Any thread may call anything. One lock guards the protocol state, the inbox, the answers with those who
listen to them, and each send, none of which waits; it is never held while a user's code runs. Who reads
is settled in `flux.core.readers`, how it ends in `flux.core.connection`.
"""

from __future__ import annotations

import contextlib
import errno
import math
import select
import socket
import time
from typing import TYPE_CHECKING

from flux.connector import READ_BYTES
from flux.core.connection import Connection, reset_error
from flux.core.thread import this_thread
from flux.errors import named_error
from flux.packet import Packet, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from flux.connector import Stream
    from flux.core.answers import Answers
    from flux.core.readers import Follower
    from flux.session import Receiver, Session

__all__ = ["Link"]

_FULL = BlockingIOError()
_ONCE = (None,)  # results enough to stop reading after the first time
_LOOK_AGAIN_S = 0.02  # for a sender without room: the one who reads meanwhile may stop reading


class Link(Connection):
    """Moves the bytes of a connection, for all threads of the process that opened it."""

    def request(
        self, topic: str, payload: bytes | None, answers: Answers | None, nodeid: int, flags: int, *, at_once: bool
    ) -> tuple[Session, int]:
        """Send a request, see Session.request; where it waits for the answer, and its matchtag.

        at_once: write it before the call returns, else it is queued for the next `flush`. Raises OSError
        (EINVAL) when closed or after a fork, BrokenPipeError when lost.
        """
        receiver: Receiver | None = answers
        if self._reconnecting is not None:
            self._notice_loss()
            receiver = self._reconnecting.track(topic, payload, answers)
        with self.lock:
            if self._refusal is not None:
                self.check_usable()
            session = self.session
            tag = session.request(topic, payload, receiver, nodeid=nodeid, flags=flags)
            obstacle = self._write() if at_once else None
        if obstacle is not None:
            self._finish(obstacle)
        return session, tag

    def send(self, packet: Packet, *, at_once: bool) -> None:
        """Send any message; at_once and errors as for `request`."""
        if self._reconnecting is not None:
            self._notice_loss()
        with self.lock:
            if self._refusal is not None:
                self.check_usable()
            self.session.send(packet)
            obstacle = self._write() if at_once else None
        if obstacle is not None:
            self._finish(obstacle)

    def _notice_loss(self) -> None:
        """Find a connection lost before something is sent in vain."""
        stream = self.stream
        while self._wait(select.POLLRDHUP, 0):
            with self.lock:
                if self.stream is not stream or self._refusal is not None or self.lost is not None:
                    return  # another was faster; to read now would be to wait, or of no stream
                follower = self.readers.enter()
            if follower is None:
                self._lead(_ONCE, None)
            else:
                self._follow(follower, None)

    def abandon(self, session: Session, answers: Answers) -> None:
        """Nobody waits for these any more; once the last has come, their tag is another's."""
        with self.lock:
            if not answers.is_finished:
                session.abandon(answers.tag)

    # Sending

    def flush(self) -> None:
        """Write all that is queued by any thread, waiting as long as it takes.

        While it waits it reads, unless somebody else does, so that a peer that does the same gets on.
        Raises BrokenPipeError when the peer is gone, also if another is being looked for; what it sent before is kept.
        """
        if self.session.queued or self._unsent:
            self._finish(self._write_in_turn())

    def _write(self) -> OSError | None:
        """Write what the stream takes now, under the lock. Why not all of it went, _FULL if it takes no more."""
        data = self._unsent or self.session.bytes_to_send()
        if not data:
            return None
        self._unsent = data
        try:
            sent = self.stream.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return _FULL
        except OSError as error:
            self._unsent = b""
            return error
        self._unsent = b"" if sent == len(data) else memoryview(data)[sent:]
        return _FULL if self._unsent or self.session.queued else None

    def _write_in_turn(self) -> OSError | None:
        with self.lock:
            if self._refusal is not None:
                self.check_usable()
            return self._write()

    def _finish(self, obstacle: OSError | None) -> None:
        """Write all the same what a `_write` has left. Raises BrokenPipeError as `flush` does."""
        session = self.session
        while obstacle is not None:
            if obstacle is not _FULL:
                self._read_out()
                raise named_error(errno.EPIPE) from obstacle
            self._wait_for_room()
            if session.lost is not None:
                raise named_error(errno.EPIPE)
            obstacle = self._write_in_turn()

    def _flush_to_wait(self) -> None:
        """Write what is queued before a wait, which will find a peer that is gone by itself."""
        self.check_usable()
        with contextlib.suppress(BrokenPipeError):
            self.flush()

    def _wait_for_room(self) -> None:
        with self.lock:
            follower = self.readers.enter() if self.is_mending else None
            leads = follower is None and self.readers.lead()
        if follower is not None:
            self._follow(follower, None)
        elif not leads:
            self._wait(select.POLLOUT, _LOOK_AGAIN_S)
        else:
            try:
                if self._wait(select.POLLIN | select.POLLOUT, None) & ~select.POLLOUT:
                    self.read_available()
            finally:
                self.resign()

    def _read_out(self) -> None:
        """Take what a peer that is gone has left; a thread that waits for it does so itself."""
        with self.lock:
            if not self.readers.lead():
                return
        try:
            stream = self.stream
            while self.read_available():
                pass
            with self.lock:
                self.end(stream, reset_error())
        finally:
            self.resign()

    # Receiving

    def read_until(self, answers: Answers, deadline: float | None) -> None:
        """Wait until one of the answers is there, reading for everyone or while another thread does.

        deadline: on the monotonic clock; past it the call still takes what is there. Raises
        TimeoutError, or, when nothing can arrive any more, the error that ended the connection.
        """
        results = answers.results
        while not results:
            if self.session.queued or self._unsent:
                self._flush_to_wait()
            with self.lock:
                if results:
                    return
                if self._refusal is not None or self.session.lost is not None:
                    self.check_readable()
                follower = self.readers.enter()
                if follower is not None:
                    answers.listeners += (follower.wake,)
            if follower is None:
                self._lead(results, deadline)
                continue
            try:
                self._follow(follower, deadline)
            finally:
                with self.lock:
                    answers.stop_telling(follower.wake)

    def receive(self, matches: Callable[[Packet], bool], *, may_wait: bool) -> Packet | None:
        """Take the oldest message that matches; None if there is none and the call may not wait.

        Raises as `read_until` does, once all that arrived before the end is taken.
        """
        while (packet := self._take_matching(matches)) is None:
            if not may_wait:
                if not self.read_available():
                    return None
                continue
            self._flush_to_wait()
            with self.lock:
                packet = self._take_matching(matches)
                if packet is not None:
                    return packet
                follower = self.readers.enter(wants_messages=True)
            if follower is None:
                self._lead(_ONCE, None)
            else:
                self._follow(follower, None)
        return packet

    def _take_matching(self, matches: Callable[[Packet], bool]) -> Packet | None:
        with self.lock:
            if self._refusal is not None:
                self.check_usable()
            packet = self.inbox.take_matching(matches)
            if packet is None:
                self.check_readable()
            return packet

    def take(self) -> Packet | None:
        """Take the oldest message, if there is one."""
        if not self.inbox.packets:
            return None
        with self.lock:
            return self.inbox.take()

    def put_back(self, packet: Packet, *, first: bool) -> None:
        """Put a message back into the inbox, see there."""
        with self.lock:
            self.check_usable()
            self.inbox.put_back(packet, first=first)
            self.readers.messages_came()

    def _lead(self, results: Sized, deadline: float | None) -> None:
        """Read until `results` has something in it or the connection ends."""
        try:
            while self._read(deadline) and not results:
                pass
        finally:
            self.readers.resign()
            if self.retired:
                self.close_retired()

    def _follow(self, follower: Follower, deadline: float | None) -> None:
        """Wait until woken, while another thread reads. Raises TimeoutError."""
        try:
            if not follower.wait(None if deadline is None else deadline - time.monotonic()):
                raise named_error(errno.ETIMEDOUT)
        finally:
            with self.lock:
                self.readers.part(follower)

    def resign(self) -> None:
        """Read no more, see Readers.resign."""
        self.readers.resign()
        if self.retired:
            self.close_retired()

    def _read(self, deadline: float | None) -> bool:
        """Wait until something arrives and take it; False when nothing more can. For the leader."""
        stream, flags = self.stream, 0
        if deadline is not None:
            if not self._wait(select.POLLIN, deadline - time.monotonic()):
                raise named_error(errno.ETIMEDOUT)
            flags = socket.MSG_DONTWAIT  # a stream that decodes may have had less than a whole unit of its own
        try:
            this_thread.block()
            data = stream.recv(READ_BYTES, flags)
        except BlockingIOError:
            if deadline is None:
                raise
            return True
        except ConnectionResetError:
            data = b""
        finally:
            this_thread.is_blocked = False
        return self._take(stream, data)

    def read_available(self) -> bool:
        """Take what has arrived without waiting; False when nothing had, or when another thread reads."""
        with self.lock:
            if self._refusal is not None or self.lost is not None or not self.readers.lead():
                return False
        try:
            return self._read_now()
        finally:
            self.resign()

    def _read_now(self) -> bool:
        stream = self.stream
        try:
            data = stream.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self._take(stream, data)
        return True

    def _take(self, stream: Stream, data: bytes) -> bool:
        """Handle what was read, nothing if the peer hung up; whether more can come."""
        with self.lock:
            session = self.session
            if stream is not self.stream or session.lost is not None:
                return session.lost is None
            if not data:
                self.end(stream, reset_error())
                return False
            known = len(session.inbox)
            try:
                session.receive(data)
            except ProtocolError as error:
                self.end(stream, error)
                return False
            if len(session.inbox) != known:
                self.readers.messages_came()
            return True

    def ready_events(self) -> int:
        """The poll(2) events the stream is ready for now."""
        self.check_usable()
        return self._wait(select.POLLIN | select.POLLOUT, 0)

    def _wait(self, events: int, timeout_s: float | None) -> int:
        """Wait for poll(2) events of the stream; those that occurred, 0 after the timeout."""
        fd = self.fileno()  # asked once: another thread may hang up meanwhile
        if fd < 0:
            return 0
        poll = select.poll()
        poll.register(fd, events)
        try:
            this_thread.block()
            ready = poll.poll(None if timeout_s is None else max(0, math.ceil(timeout_s * 1000)))
        finally:
            this_thread.is_blocked = False
        return ready[0][1] if ready else 0
