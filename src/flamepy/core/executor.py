# SPDX-License-Identifier: Apache-2.0
"""`run`: one service in its session takes orders, works, reports; one thread, and a watchdog beside it."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.output import kept_output
from flamepy.core.patience import Patience, reconnect_timeout
from flamepy.core.service import ApplicationContext, FlameService, ServiceFailure, SessionContext, TaskContext
from flamepy.core.types import FlameError, FlameErrorCode
from flamepy.core.watchdog import Watchdog
from flamepy.protocol import MAX_TASK_DATA_BYTES, AttachExecutor, CompletionBatch, ExecutorOrder, SessionContextInfo
from flux.connector import READ_BYTES, connect
from flux.constants import FLUX_MSGFLAG_STREAMING
from flux.session import Session

if TYPE_CHECKING:
    from flux.packet import Packet

__all__ = ["FLAME_INSTANCE_ENDPOINT", "Executor", "run"]

FLAME_INSTANCE_ENDPOINT = "FLAME_INSTANCE_ENDPOINT"
"""The environment variable that tells a service process where to call in."""

_EXECUTOR_ID = "FLAME_EXECUTOR_ID"

_WELCOME_S = 5.0
"""How long an instance may take to welcome us again."""

_REPORT_S = 0.002  # answers of quick tasks travel together, at most this late

_encode = msgspec.msgpack.Encoder().encode
_decode_order = msgspec.msgpack.Decoder(ExecutorOrder).decode


def run(service: FlameService) -> None:
    """Serve one session; returns when it is over, and the process should then end.

    Call it in a process that an instance has started. Raises FlameError INTERNAL if it was not, or if
    the instance does not answer. If the connection breaks, the service goes on, and looks for the instance for as
    long as FLAME_RECONNECT_TIMEOUT says; in vain, the process is ended by SIGTERM.
    """
    for variable in (FLAME_INSTANCE_ENDPOINT, _EXECUTOR_ID):
        if not os.environ.get(variable):
            raise FlameError(
                FlameErrorCode.INTERNAL,
                f"{variable} is not set: a service is started by an instance; register its command as an application"
                " and create a session of it",
            )
    uri = os.environ[FLAME_INSTANCE_ENDPOINT]
    try:
        stream = connect(uri)
    except OSError as error:
        raise FlameError(FlameErrorCode.INTERNAL, f"the instance at {uri} does not answer: {error}") from error
    with stream, kept_output():
        Executor(service, stream, os.environ[_EXECUTOR_ID], uri, reconnect_timeout()).serve()


class Executor:
    """Drives a service through its one session.

    Two threads meet here: this one works, the watchdog (`step_in`) steps in when a task takes long
    while others wait behind it, here or still in the socket. What they share are the tasks that wait,
    in a deque used by single atomic operations, and the two sides of the socket, under a lock each.
    """

    def __init__(
        self,
        service: FlameService,
        stream: socket.socket,
        executor_id: str,
        uri: str = "",
        reconnect_s: float = 0.0,
    ) -> None:
        self._service = service
        self._stream = stream
        """Always the same descriptor: a new connection takes its place (`dup2`), so that who polls it need not know."""
        self._executor_id = executor_id
        self._uri = uri
        self._reconnect_s = reconnect_s
        self._protocol = Session()
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._waiting: deque[tuple[int, bytes | None]] = deque()
        self._done: deque[tuple[int, bytes | None, str | None, float]] = deque()
        self._done_count = 0
        self._at_work: int | None = None
        self._enter: SessionContextInfo | None = None
        self._has_entered = False
        self._is_over = False

    def serve(self) -> None:
        """Attach, enter, work until dismissed or cut off, leave."""
        self._send_attach(AttachExecutor(self._executor_id))
        while self._enter is None and not self._is_over:
            self._receive()
        if self._enter is None:
            return
        with Watchdog(self._stream, self.step_in, self.find_instance) as watchdog:
            try:
                if self._enter_session(self._enter):
                    while not self._is_over:
                        self._work(self._enter.session, watchdog)
                        self._receive()
            finally:
                self._leave_session()

    # -- the service's three methods

    def _enter_session(self, enter: SessionContextInfo) -> bool:
        application = ApplicationContext(
            enter.application, enter.image, enter.command, enter.working_directory, enter.url
        )
        try:
            self._service.on_session_enter(SessionContext(enter.common_data, enter.session, application))
        except Exception as error:
            traceback.print_exc()
            self._send(CompletionBatch(self._executor_id, failure=_text_of(error)))
            return False
        self._send(CompletionBatch(self._executor_id, entered=True))
        self._has_entered = True
        return True

    def _work(self, session_id: str, watchdog: Watchdog) -> None:
        """Do what waits, in order."""
        waiting, done = self._waiting, self._done
        watchdog.arm()
        began = reported = time.perf_counter()
        try:
            while waiting:
                try:
                    task_id, data = waiting.popleft()
                except IndexError:
                    break  # the watchdog gave them back just now
                self._at_work = task_id
                output, error = self._invoke(TaskContext(str(task_id), session_id, data))
                now = time.perf_counter()
                done.append((task_id, output, error, now - began))
                self._at_work = None
                self._done_count += 1
                began = now
                if now - reported > _REPORT_S:
                    self._report()
                    reported = now
        finally:
            self._report()  # also when the service ends the process from within a task

    def _invoke(self, context: TaskContext) -> tuple[bytes | None, str | None]:
        """(output, None), or (None, what went wrong). An exit of the process is not stopped."""
        try:
            output = self._service.on_task_invoke(context)
        except Exception as error:
            return None, _text_of(error)
        if output is None or isinstance(output, bytes):
            if len(output or b"") > MAX_TASK_DATA_BYTES:
                return (
                    None,
                    f"ValueError: the output has {len(output or b'')} bytes, at most {MAX_TASK_DATA_BYTES} travel",
                )
            return output, None
        return None, f"TypeError: on_task_invoke must return bytes or None, got {type(output).__name__}"

    def _leave_session(self) -> None:
        try:
            self._service.on_session_leave()
        except Exception:
            traceback.print_exc()  # nobody is left to be told but the log

    # -- orders

    def on_response(self, response: Packet) -> None:
        """An order, or the end."""
        if response.aux1:
            self._is_over = True
            if response.aux1 != errno.ENODATA:
                text = (response.payload or b"").rstrip(b"\0").decode("utf-8", "replace")
                print(f"the instance refused executor {self._executor_id}: {text}", file=sys.stderr)  # noqa: T201
            return
        order = _decode_order(response.payload or b"")
        if order.enter is not None:
            self._enter = order.enter
        self._waiting += order.tasks

    def on_lost(self, error: OSError) -> None:
        """The instance is gone; whoever reads sees to what follows."""

    def _receive(self) -> None:
        """Wait for orders, unless the watchdog has seen the end meanwhile."""
        with self._receiving:
            if not self._is_over:
                self._read()
            if self._is_lost and not self._is_over:
                self._is_over = not self._attach_again()

    def _read(self, flags: int = 0) -> None:
        try:
            data = self._stream.recv(READ_BYTES, flags)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive(data)
        else:
            self._protocol.lose(OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    # -- an instance that is gone, and may come back

    @property
    def _is_lost(self) -> bool:
        return self._protocol.lost is not None

    def find_instance(self) -> bool | None:
        """Called by the watchdog when the other side has hung up: whether it is there again, None for not yet known.

        A worker that waits for orders sees to it by himself.
        """
        if not self._receiving.acquire(blocking=False):
            return None
        try:
            if self._is_over:
                return False
            if not self._has_hung_up():
                return True  # the worker was quicker: what hung up was the connection before this one
            self._protocol.lose(OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
            self._is_over = not self._attach_again()
            return not self._is_over
        finally:
            self._receiving.release()

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._stream, select.POLLRDHUP)
        return bool(poll.poll(0))

    def _attach_again(self) -> bool:
        """Connect to the instance that was started again, and say what we hold; called with the receiving lock held."""
        if not self._has_entered or self._enter is None:
            return False
        patience = Patience(self._reconnect_s)
        while (pause_s := patience.next_pause()) is not None:
            time.sleep(pause_s)
            try:
                stream = connect(self._uri, pause_s + _WELCOME_S)
            except OSError:
                continue
            with self._sending, stream:
                os.dup2(stream.fileno(), self._stream.fileno(), inheritable=False)
                self._protocol = Session()
                self._send_attach(AttachExecutor(self._executor_id, self._enter.session, self._holding()))
            return True
        return False

    def _holding(self) -> list[int]:
        at_work = [] if self._at_work is None else [self._at_work]
        return [*(answer[0] for answer in list(self._done)), *at_work, *(task[0] for task in list(self._waiting))]

    def _send_attach(self, attach: AttachExecutor) -> None:
        request = msgspec.json.encode(attach) + b"\0"
        self._protocol.request("flame.executor.attach", request, self, flags=FLUX_MSGFLAG_STREAMING)
        with contextlib.suppress(OSError):  # broken again: the reader meets the same end
            self._stream.sendall(self._protocol.bytes_to_send())

    # -- reports

    def _report(self, returned: list[int] | None = None) -> None:
        """Send what is done, and what is given back."""
        done = self._done
        with self._sending:
            answers = [done.popleft() for _ in range(len(done))]
            if answers or returned:
                busy_s = sum(answer[3] for answer in answers)
                batch = CompletionBatch(
                    self._executor_id,
                    done=[answer[:3] for answer in answers],
                    returned=returned or [],
                    busy_s=busy_s,
                )
                if not self._send(batch):
                    done.extendleft(reversed(answers))  # for the instance that comes after this one

    def _send(self, batch: CompletionBatch) -> bool:
        """Whether it is sent. Called with the sending lock held, or before there is a watchdog to share with."""
        try:
            self._protocol.request("flame.executor.report", _encode(batch), None)
            self._stream.sendall(self._protocol.bytes_to_send())
        except OSError:
            return False  # the reader meets the same end
        return True

    def step_in(self, done_before: int) -> int | None:
        """Called by the watchdog now and then while there is work.

        Sends what is done. If nothing was done since the last time, gives the waiting ones back, for
        others to do, with those that have arrived since the one at work was begun. Returns how many
        have been done by now, None when there is no work.
        """
        done_now = self._done_count
        returned: list[int] = []
        if done_now == done_before:
            if not self._receiving.acquire(blocking=False):
                return None  # the worker waits for orders
            try:
                self._read(socket.MSG_DONTWAIT)
            finally:
                self._receiving.release()
            while self._waiting:
                try:
                    returned.append(self._waiting.popleft()[0])
                except IndexError:
                    break  # the worker took the last one just now
        self._report(returned)
        return done_now


def _text_of(error: Exception) -> str:
    """Type and text first, then where in the service it happened."""
    if isinstance(error, ServiceFailure):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[1:]
    where = "".join(traceback.format_list(frames))
    text = "".join(traceback.format_exception_only(type(error), error)).rstrip()
    return f"{text}\n{where}".rstrip() if where else text
