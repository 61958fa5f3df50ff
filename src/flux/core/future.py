# SPDX-License-Identifier: Apache-2.0
"""A result to come: wait for it, or have a callback called by the reactor."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import msgspec

from flux.core.awaited import Awaited

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from flux.core.answers import Answers
    from flux.core.awaited import Home
    from flux.core.calls import FutureCalls
    from flux.core.reactor import Reactor
    from flux.core.timers import Timer
    from flux.session import Session

__all__ = ["Future"]


class _Then(msgspec.Struct, eq=False):
    """A callback that waits for results."""

    calls: FutureCalls
    callback: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    timeout_s: float
    timer: Timer | None = None
    calls_due: int = 0
    has_run: bool = False


class Future(Awaited):
    """The result of a request; `Future(other)` shares the result of another.

    A stream of results queues up: the first is the current one until `reset`. A future keeps its
    handle alive, and a future with a callback is kept alive by the handle until the callback has
    been called for the last result. Any thread may wait, one for each stream; callbacks run in the
    reactor's thread.
    """

    __slots__ = ("_original", "_then")

    def __init__(self, future: Future) -> None:
        self._share(future._handle, future._session, future._answers, future)

    def _share(
        self, handle: Home | None, session: Session | None, answers: Answers, original: Future | None = None
    ) -> None:
        self._original = original
        self._then: _Then | None = None
        super()._share(handle, session, answers)

    def _wait(self, deadline: float | None) -> None:
        if self._original is not None:
            self._original._wait(deadline)
        else:
            super()._wait(deadline)

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

    def reset(self) -> None:
        """Drop the current result; the next one, if it has arrived, takes its place."""
        with self._lock():
            if self._answers.results:
                del self._answers.results[0]
            self._start_timer()
            self._keep_alive()

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

    def get_reactor(self) -> Reactor:
        """The reactor that calls the callback. Raises OSError (EINVAL) without a handle."""
        return self._home().calls.reactor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
