# SPDX-License-Identifier: Apache-2.0
"""The socket to one fork server, and its process: requests out, answers in, and the end noticed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from socket import send_fds
from typing import TYPE_CHECKING, NamedTuple

from hearth.providers.output import OutputTail
from hearth.zygote.messages import Answer, Request, decode_answers, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearth.zygote.process import ZygoteProcess

__all__ = ["ZygoteLink"]

log = logging.getLogger(__name__)

_ANSWER_S = 20.0  # a busy machine may take seconds to load it; one that is stuck must not hold up executors for ever
_READ_BYTES = 64 << 10
_TOLD_LINES = 12


class _Asked(NamedTuple):
    on_answer: Callable[[Answer | None], None]
    deadline: float


class ZygoteLink:
    """One server's process and the socket to it. Answers come in the order of the requests; None: it has died.

    on_loaded is called when the server is ready, on_lost when it has died, with what completes "the fork server …".
    """

    def __init__(self, process: ZygoteProcess, on_loaded: Callable[[], None], on_lost: Callable[[str], None]) -> None:
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
        self._expect(lambda answer: on_loaded() if answer is not None else None)

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
        self._expect(on_answer)
        self._unsent.append((memoryview(encode(request)), tuple(descriptors)))
        if len(self._unsent) == 1:
            self._write()

    def _expect(self, on_answer: Callable[[Answer | None], None]) -> None:
        self._asked.append(_Asked(on_answer, self._loop.time() + _ANSWER_S))
        if self._timer is None:
            self._timer = self._loop.call_later(_ANSWER_S, self._check_answers)

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
            except OSError:  # it has died, or the kernel holds as many descriptors for us as it will
                self._process.popen.kill()  # which is then noticed as any death of it
                return
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
                self._process.popen.kill()
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
