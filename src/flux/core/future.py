# SPDX-License-Identifier: Apache-2.0
"""A result to come: wait for it, or have a callback called by the reactor."""

from __future__ import annotations

import errno
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from flux.core.thread import raise_stored
from flux.errors import named_error
from flux.results import error_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from typing_extensions import Self

    from flux.core.answers import Answers
    from flux.core.calls import FutureCalls
    from flux.core.handle import Flux
    from flux.core.link import Link
    from flux.core.reactor import Reactor
    from flux.core.timers import Timer
    from flux.packet import Packet
    from flux.session import Session

__all__ = ["Future", "Home"]


class Home(Protocol):
    """What a future needs of its handle."""

    link: Link

    @property
    def calls(self) -> FutureCalls:
        """Who calls the callbacks that are set now."""

    def calling_aside(self, aside: FutureCalls) -> AbstractContextManager[None]:
        """Have another call them, for a while."""


@dataclass(slots=True)
class _Then:
    """A callback that waits for results."""

    calls: FutureCalls
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
    been called for the last result. Any thread may wait, one for each stream; callbacks run in the
    reactor's thread.
    """

    __slots__ = ("__weakref__", "_answers", "_handle", "_original", "_session", "_then")

    def __init__(self, future: Future) -> None:
        self._share(future._handle, future._session, future._answers)
        self._original: Future | None = future

    def _share(self, handle: Home | None, session: Session | None, answers: Answers) -> None:
        """Begin to be a future of these answers; session: where they are asked for, None if nowhere."""
        self._handle, self._session, self._answers = handle, session, answers
        self._original = None
        self._then: _Then | None = None
        answers.holders += 1

    def __del__(self) -> None:
        answers = getattr(self, "_answers", None)
        if answers is not None:
            answers.holders -= 1
            if not answers.holders and not answers.is_finished:
                self._abandon()

    def _abandon(self) -> None:
        """Want no answer any more, if another one could come."""
        if self._session is not None and self._handle is not None and not self._answers.is_finished:
            self._handle.link.abandon(self._session, self._answers)

    def _lock(self) -> AbstractContextManager[object]:
        """What guards the answers and the callback; a future without handle belongs to one thread."""
        return nullcontext() if self._handle is None else self._handle.link.lock

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
        """Do what brings a result until there is one; deadline: on the monotonic clock."""
        if self._original is not None:
            self._original._wait(deadline)
            return
        if self._answers.is_finished:
            raise named_error(errno.EDEADLK)
        self._home().link.read_until(self._answers, deadline)

    def _result(self) -> Packet:
        if not self._answers.results:
            self.wait_for()
        error = self._error()
        if error is not None:
            raise_stored()
            raise error
        return cast("Packet", self._answers.results[0])  # or there were an error

    def _home(self) -> Home:
        if self._handle is None:
            raise named_error(errno.EINVAL)
        return self._handle

    def is_ready(self) -> bool:
        """Whether a result is there. Does no I/O."""
        return bool(self._answers.results)

    def error_string(self) -> str | None:
        """The text of the error result; None without result or without error."""
        error = self._error()
        return None if error is None else error.strerror

    def _error(self) -> OSError | None:
        """A fresh exception for an error result, so that each raise has its own traceback."""
        result = self._answers.results[0] if self._answers.results else None
        if isinstance(result, OSError):
            return OSError(result.errno, result.strerror)
        return None if result is None else error_of(result)

    def reset(self) -> None:
        """Drop the current result; the next one, if it has arrived, takes its place."""
        with self._lock():
            if self._answers.results:
                self._answers.results.popleft()
            self._start_timer()
            self._keep_alive()

    # Calling back

    def then(self, callback: Callable[..., object] | None, *args: Any, timeout: float = -1.0, **kwargs: Any) -> Self:
        """Have callback(future, *args, **kwargs) called from the reactor for each result, never from here.

        timeout: seconds until the request is given up with ETIMEDOUT as its result, less than 0 never.
        Raises ValueError without a callback, OSError: EEXIST while another one waits for its first call,
        EINVAL without a handle.
        """
        if callback is None:
            raise ValueError("then: callback must not be None")
        if self._then is not None and not self._then.has_run:
            raise OSError(errno.EEXIST, "then callback already exists for this future")
        calls = self._home().calls
        answers = self._answers
        with self._lock():
            self._detach()
            self._then = _Then(calls, callback, args, kwargs, timeout)
            answers.listeners += (self._result_arrived,)
            for _ in answers.results:
                self._result_arrived()
            if timeout >= 0:
                self._start_timer()
            self._keep_alive()
        self._begin()
        return self

    def _begin(self) -> None:
        """Start the work that brings a result by way of the reactor."""
        if self._original is not None:
            self._original._begin()

    def _is_pending(self) -> bool:
        """Whether a result is to come over the connection, so that the reactor has to wait for it."""
        return self._original._is_pending() if self._original is not None else not self._answers.is_finished

    def _keep_alive(self) -> None:
        """Have the future kept until the callback was called, and the reactor too if only that brings a result."""
        then = self._then
        if then is not None and (self._is_pending() or then.timer is not None):
            then.calls.wait_for(self)
        elif then is not None:
            then.calls.keep(self)

    def stop(self) -> None:
        """Have the callback called no more."""
        if self._then is not None:
            with self._lock():
                self._detach()

    def _detach(self) -> None:
        """Let go of the callback; under the lock."""
        then, self._then = self._then, None
        if then is not None:
            if then.timer is not None:
                then.timer.cancel()
            self._answers.stop_telling(self._result_arrived)
            then.calls.forget(self)

    def call_back(self) -> None:
        """Call the callback for one result that has arrived; the dispatcher's part of `then`.

        When the callback raises, the result is dropped and the future stopped.
        """
        with self._lock():
            then = self._then
            if then is None or not then.calls_due:
                return
            then.calls_due -= 1
            then.has_run = True
            if self._answers.is_finished and not then.calls_due:
                self._detach()
            if not self._answers.results:
                return
        try:
            then.callback(self, *then.args, **then.kwargs)
        except Exception:
            self.stop()
            self.reset()
            raise

    def _result_arrived(self) -> None:
        then = self._then
        if then is not None:
            then.calls_due += 1
            if then.timer is not None:
                self._stop_timer()
            then.calls.result_arrived(self)

    def _start_timer(self) -> None:
        then = self._then
        if then is None or then.timeout_s < 0 or self._answers.results or self._answers.is_finished:
            return
        self._stop_timer()
        reactor = then.calls.reactor
        then.timer = reactor.call_at(reactor.now() + then.timeout_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._then is not None and self._then.timer is not None:
            self._then.timer.cancel()
            self._then.timer = None

    def _give_up(self) -> None:
        with self._lock():
            if self._then is None or self._then.timer is None:
                return  # an answer came at the last moment, read by another thread
            self._then.timer = None
            self._end(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def _end(self, error: OSError) -> None:
        """Have an error as the last result."""
        with self._lock():
            self._abandon()
            self._answers.on_lost(error)

    def fulfill_error(self, errnum: int = errno.ENOENT, errstr: str | None = None) -> None:
        """Give the request up with an error as its result; errstr: in place of errnum's own text."""
        self._end(OSError(errnum, errstr or os.strerror(errnum)))

    # Belonging

    def get_flux(self) -> Flux | None:
        """The handle the future belongs to, None without one."""
        return cast("Flux | None", self._handle)  # the only class there is that is a Home

    def set_flux(self, flux_handle: Flux) -> None:
        """Belong to a handle. Raises OSError (EINVAL) when a request went over another connection."""
        if self._session is not None and flux_handle.link.session is not self._session:
            raise named_error(errno.EINVAL)
        self._handle = flux_handle

    def get_reactor(self) -> Reactor:
        """The reactor that calls the callback. Raises OSError (EINVAL) without a handle."""
        return self._home().calls.reactor

    def incref(self) -> None:
        """Does nothing: Python counts the references."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
