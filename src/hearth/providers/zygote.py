# SPDX-License-Identifier: Apache-2.0
"""The daemon's end of the fork server: it is kept running, asked for children, and done without when it fails."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
from collections import deque
from socket import send_fds
from typing import TYPE_CHECKING, NamedTuple

from hearth.providers.child import Child, ProcessSpec, could_not_start, describe
from hearth.providers.output import OutputTail
from hearth.providers.python_command import interpreter_of
from hearth.zygote.messages import Answer, Ended, Fork, Forked, Request, Wait, decode_answers, encode
from hearth.zygote.process import ZygoteProcess, start_zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Zygote"]

log = logging.getLogger(__name__)

_ANSWER_S = 20.0  # a busy machine may take seconds to load it; one that is stuck must not hold up executors for ever
_FAILURES_MAX = 4  # in a row: then something is wrong with it here, and it is not started again
_PAUSE_S = 0.1  # before it is started again, doubled after each failure in a row
_READ_BYTES = 64 << 10
_TOLD_LINES = 12


class Zygote:
    """One fork server at a time, started again when it dies. Without one, programs are executed plainly."""

    def __init__(self, started: ZygoteProcess) -> None:
        self._loop = asyncio.get_running_loop()
        self._link: _Link | None = _Link(started, self._lost)
        self._failures = 0
        self._restart: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, None while there is none."""
        return None if self._link is None else self._link.pid

    def start(self, spec: ProcessSpec, on_ended: Callable[[str], None]) -> Child:
        """Start a process: forked where that comes out the same, else executed. Raises OSError as Child does."""
        link = self._link
        if link is not None:
            interpreter = interpreter_of(spec.command, spec.environment, link.environment)
            if interpreter is not None:
                return _ForkedChild(spec, on_ended, link, interpreter, self._forked)
        return Child(spec, on_ended)

    def close(self) -> None:
        """End the server. Children must have ended before, for their status to be known."""
        if self._restart is not None:
            self._restart.cancel()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _forked(self) -> None:
        self._failures = 0

    def _lost(self, how: str) -> None:
        self._link = None
        self._failures += 1
        is_last = self._failures >= _FAILURES_MAX
        then = "it is not started again" if is_last else "it is started again"
        log.warning("the fork server %s; programs are executed plainly meanwhile, and %s", how, then)
        if not is_last:
            self._restart = self._loop.call_later(_PAUSE_S * 2**self._failures, self._start_again)

    def _start_again(self) -> None:
        try:
            self._link = _Link(start_zygote(), self._lost)
        except OSError as error:
            self._lost(f"could not be started: {error}")


class _Asked(NamedTuple):
    on_answer: Callable[[Answer | None], None]
    deadline: float


class _Link:
    """One server's process and the socket to it. Answers come in the order of the requests; None: it has died."""

    def __init__(self, process: ZygoteProcess, on_lost: Callable[[str], None]) -> None:
        self._process = process
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._output = OutputTail(process.output)
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._received = bytearray()
        self._asked: deque[_Asked] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = True
        self._stream = process.stream
        self._stream.setblocking(False)
        self._loop.add_reader(self._stream.fileno(), self._read)
        log.debug("the fork server has started: pid %d", self.pid)

    @property
    def pid(self) -> int:
        return self._process.popen.pid

    @property
    def environment(self) -> dict[str, str]:
        """What the server was started with."""
        return self._process.environment

    def ask(
        self, request: Request, on_answer: Callable[[Answer | None], None], descriptors: Sequence[int] = ()
    ) -> None:
        """Send a request; the descriptors must stay open until the answer, which never comes from within this call."""
        if not self._is_open:
            self._loop.call_soon(on_answer, None)
            return
        self._asked.append(_Asked(on_answer, self._loop.time() + _ANSWER_S))
        if self._timer is None:
            self._timer = self._loop.call_later(_ANSWER_S, self._check_answers)
        self._unsent.append((memoryview(encode(request)), tuple(descriptors)))
        if len(self._unsent) == 1:
            self._write()

    def _write(self) -> None:
        """Send what there is room for; descriptors go with the first byte of their message."""
        stream = self._stream
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                sent = send_fds(stream, [data], descriptors) if descriptors else stream.send(data)
            except BlockingIOError:
                self._loop.add_writer(stream.fileno(), self._write)
                return
            except ConnectionError:
                return  # the reader finds out, too
            if sent < len(data):
                self._unsent[0] = (data[sent:], ())
            else:
                self._unsent.popleft()
        self._loop.remove_writer(stream.fileno())

    def _read(self) -> None:
        try:
            data = self._stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._died()
            return
        self._received += data
        for answer in decode_answers(self._received):
            self._asked.popleft().on_answer(answer)

    def _check_answers(self) -> None:
        self._timer = None
        if self._asked:
            left = self._asked[0].deadline - self._loop.time()
            if left <= 0:
                log.warning("the fork server has not answered for %g s, and is killed", _ANSWER_S)
                self._process.popen.kill()  # which is then noticed as any death of it
            else:
                self._timer = self._loop.call_later(left, self._check_answers)

    def _died(self) -> None:
        self._output.drain()
        said = self._output.last_lines(_TOLD_LINES)
        self.close()
        self._on_lost("has died" + ("; its last words:\n" + "\n".join(said) if said else ""))
        for asked in self._asked:
            asked.on_answer(None)
        self._asked.clear()

    def close(self) -> None:
        """End the server and wait for it."""
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._stream.fileno())
        self._loop.remove_writer(self._stream.fileno())
        self._output.close()
        self._process.end()


class _ForkedChild(Child):
    """A child of the server; executed after all if the server dies before it has forked it."""

    def __init__(
        self,
        spec: ProcessSpec,
        on_ended: Callable[[str], None],
        link: _Link,
        interpreter: str,
        on_forked: Callable[[], None],
    ) -> None:
        self._link = link
        self._interpreter = interpreter
        self._on_forked = on_forked
        self._is_doomed = False
        super().__init__(spec, on_ended)

    def _start(self, spec: ProcessSpec) -> None:
        _check_folder(spec.folder)
        stdout = os.dup(spec.stdout)
        try:
            stderr = os.dup(spec.stderr)
        except OSError:
            os.close(stdout)
            raise
        self._spec = dataclasses.replace(spec, stdout=stdout, stderr=stderr)  # ours until there is an answer
        request = Fork(
            os.fsencode(self._interpreter),
            list(map(os.fsencode, spec.command)),
            {os.fsencode(name): os.fsencode(value) for name, value in spec.environment.items()},
            os.fsencode(spec.folder),
        )
        self._link.ask(request, self._answered, (stdout, stderr))

    def kill(self) -> None:
        """End it now; if it is only about to start, as soon as it has."""
        self._is_doomed = True
        super().kill()

    def _answered(self, answer: Answer | None) -> None:
        try:
            if isinstance(answer, Forked):
                self._on_forked()
                self._adopt(answer.pid)
            elif self._is_doomed:
                self._tell("was stopped before it had started")
            else:
                log.info("executor %s is executed: %s", self._name, answer or "the fork server has died")
                self._execute(self._spec)
        except OSError as error:
            self._tell(could_not_start(error))
        finally:
            os.close(self._spec.stdout)
            os.close(self._spec.stderr)

    def _adopt(self, pid: int) -> None:
        try:
            self._watch(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            self._link.ask(Wait(pid), lambda answer: None)
            raise
        log.info("executor %s started: pid %d, %s, forked", self._name, pid, self._spec.command)
        if self._is_doomed:
            self.kill()

    def _reap(self, pid: int) -> None:
        if self._popen is not None:
            super()._reap(pid)
        else:
            self._link.ask(Wait(pid), self._reaped)

    def _reaped(self, answer: Answer | None) -> None:
        if isinstance(answer, Ended):
            self._tell(describe(answer.status))
        else:
            self._tell("ended; how is not known, as the fork server had died")


def _check_folder(folder: str) -> None:
    """Raises OSError, as executing something there would, while there is someone to tell."""
    try:
        os.stat(os.path.join(folder, os.curdir))
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from None
