# SPDX-License-Identifier: Apache-2.0
"""A result to come: wait for it, or have a callback called by the reactor."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flux.constants import FLUX_MSGFLAG_STREAMING
from flux.core.thread import raise_stored
from flux.errors import named_error
from flux.packet import Packet
from flux.util import payload_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from flux.core.handle import Flux
    from flux.core.messaging import Messaging
    from flux.core.reactor import Reactor
    from flux.core.timers import Timer
    from flux.session import Session

__all__ = ["Answers", "Future"]


class Answers:
    """What has arrived for one request; the protocol state adds, the futures of the request take.

    It knows neither of them, so a future that nobody holds any more goes at once, and its handle with it.
    """

    __slots__ = ("holders", "is_finished", "listeners", "results", "tag")

    def __init__(self) -> None:
        self.results: deque[Packet | OSError] = deque()
        self.is_finished = False
        self.listeners: tuple[Callable[[], None], ...] = ()
        self.tag = 0
        self.holders = 0

    def on_response(self, response: Packet) -> None:
        """Take an answer; the last one is an error, or any without the streaming flag."""
        if response.aux1 or not response.flags & FLUX_MSGFLAG_STREAMING:
            self.is_finished = True
        self._add(response)

    def on_lost(self, error: OSError) -> None:
        """Take an error that ends the wait."""
        self.is_finished = True
        self._add(error)

    def _add(self, result: Packet | OSError) -> None:
        self.results.append(result)
        for listener in self.listeners:
            listener()


@dataclass
class _Then:
    """A callback that waits for results."""

    callback: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout_s: float
    timer: Timer | None = None
    calls_due: int = 0
    has_run: bool = False


class Future:
    """The result of a request; `Future(other)` shares the result of another.

    A stream of results queues up: the first is the current one until `reset`. A future keeps its
    handle alive, and a future with a callback is kept alive by the handle until the callback has
    been called for the last result.
    """

    __slots__ = ("__weakref__", "_answers", "_handle", "_session", "_then")

    def __init__(self, future: Future) -> None:
        self._share(future._handle, future._session, future._answers)

    def _share(self, handle: Messaging, session: Session, answers: Answers) -> None:
        self._handle, self._session, self._answers = handle, session, answers
        self._then: _Then | None = None
        answers.holders += 1

    def __del__(self) -> None:
        answers = getattr(self, "_answers", None)
        if answers is not None:
            answers.holders -= 1
            if not answers.holders and not answers.is_finished:
                self._session.abandon(answers.tag)

    # Waiting

    def get(self) -> Any:
        """Wait for the result; returns None.

        Raises OSError with the errnum and text of an error response, ConnectionResetError when the
        connection is lost, EDEADLK when no result can come any more; before any of them, the exception
        that a callback left for this thread.
        """
        self._result()

    def wait_for(self, timeout: float = -1.0) -> Self:
        """Wait at most timeout seconds; 0 takes what is there, less than 0 waits without limit.

        Raises TimeoutError when the time is up; the future may be waited for again. An error result
        is not raised.
        """
        if not self._answers.results:
            try:
                self._wait(None if timeout < 0 else time.monotonic() + timeout)
            except OSError:
                raise_stored()
                raise
        return self

    def _wait(self, deadline: float | None) -> None:
        if self._answers.is_finished:
            raise named_error(errno.EDEADLK)
        self._handle.link.read_until(self._answers.results, deadline)

    def _result(self) -> Packet:
        if not self._answers.results:
            self.wait_for()
        result = self._answers.results[0]
        if isinstance(result, Packet) and not result.aux1:
            return result
        raise_stored()
        raise _error_of(result)

    def is_ready(self) -> bool:
        """Whether a result is there. Does no I/O."""
        return bool(self._answers.results)

    def error_string(self) -> str | None:
        """The text of the error result; None without result or without error."""
        if not self._answers.results:
            return None
        result = self._answers.results[0]
        return None if isinstance(result, Packet) and not result.aux1 else _error_of(result).strerror

    def reset(self) -> None:
        """Drop the current result; the next one, if it has arrived, takes its place."""
        if self._answers.results:
            self._answers.results.popleft()
        self._start_timer()

    # Calling back

    def then(self, callback: Callable[..., object] | None, *args: Any, timeout: float = -1.0, **kwargs: Any) -> Self:
        """Have callback(future, *args, **kwargs) called from the reactor for each result, never from here.

        timeout: seconds until the request is given up with ETIMEDOUT as its result, less than 0 never.
        Raises ValueError without a callback, OSError (EEXIST) while another one waits for its first call.
        """
        if callback is None:
            raise ValueError("then: callback must not be None")
        if self._then is not None and not self._then.has_run:
            raise OSError(errno.EEXIST, "then callback already exists for this future")
        self.stop()
        self._then = _Then(callback, args, kwargs, timeout)
        self._answers.listeners += (self._result_arrived,)
        self._handle.dispatcher.wait_for(self)
        for _ in self._answers.results:
            self._result_arrived()
        self._start_timer()
        return self

    def stop(self) -> None:
        """Have the callback called no more."""
        if self._then is not None:
            self._stop_timer()
            self._then = None
            # compared by equality: each access makes a new bound method
            self._answers.listeners = tuple(x for x in self._answers.listeners if x != self._result_arrived)
            self._handle.dispatcher.forget(self)

    def call_back(self) -> None:
        """Call the callback for one result that has arrived; the dispatcher's part of `then`.

        When the callback raises, the result is dropped and the future stopped.
        """
        then = self._then
        if then is None or not then.calls_due:
            return
        then.calls_due -= 1
        then.has_run = True
        if self._answers.is_finished and not then.calls_due:
            self.stop()
        if not self._answers.results:
            return
        try:
            then.callback(self, *then.args, **then.kwargs)
        except Exception:
            self.stop()
            self.reset()
            raise

    def _result_arrived(self) -> None:
        if self._then is not None:
            self._then.calls_due += 1
            self._stop_timer()
            self._handle.dispatcher.result_arrived(self)

    def _start_timer(self) -> None:
        then = self._then
        if then is None or then.timeout_s < 0 or self._answers.results or self._answers.is_finished:
            return
        self._stop_timer()
        reactor = self.get_reactor()
        then.timer = reactor.call_at(reactor.now() + then.timeout_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._then is not None and self._then.timer is not None:
            self._then.timer.cancel()

    def _give_up(self) -> None:
        self._session.abandon(self._answers.tag)
        self._answers.on_lost(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    # Belonging

    def get_flux(self) -> Flux:
        """The handle the request was made with."""
        return cast("Flux", self._handle)  # the only class there is with this base

    def get_reactor(self) -> Reactor:
        """The reactor that calls the callback."""
        return self._handle.dispatcher.reactor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _error_of(result: Packet | OSError) -> OSError:
    """A fresh exception for an error result, so that each raise has its own traceback."""
    if not isinstance(result, Packet):
        return OSError(result.errno, result.strerror)
    text = payload_text(result.payload) if result.payload and result.payload.endswith(b"\0") else None
    return OSError(result.aux1, text or os.strerror(result.aux1))
