# SPDX-License-Identifier: Apache-2.0
"""The half of a future that is waited for."""

from __future__ import annotations

import errno
import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, cast

from flux.core.thread import raise_stored
from flux.errors import named_error
from flux.results import error_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from typing_extensions import Self

    from flux.core.answers import Answers
    from flux.core.calls import FutureCalls
    from flux.core.handle import Flux
    from flux.core.link import Link
    from flux.packet import Packet
    from flux.session import Session

__all__ = ["Awaited", "Home"]


class Home(Protocol):
    """What a future needs of its handle."""

    link: Link

    @property
    def calls(self) -> FutureCalls:
        """Who calls the callbacks that are set now."""

    def calling_aside(self, aside: FutureCalls) -> AbstractContextManager[None]:
        """Have another call them, for a while."""


class Awaited:
    """The answers to one request, the first of which is the result, and how to wait for it."""

    __slots__ = ("__weakref__", "_answers", "_handle", "_session")

    def _share(self, handle: Home | None, session: Session | None, answers: Answers) -> None:
        """Begin to be a future of these answers; session: where they are asked for, None if nowhere."""
        self._handle, self._session, self._answers = handle, session, answers
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

    def _end(self, error: OSError) -> None:
        """Have an error as the last result."""
        with self._lock():
            self._abandon()
            self._answers.on_lost(error)

    def fulfill_error(self, errnum: int = errno.ENOENT, errstr: str | None = None) -> None:
        """Give the request up with an error as its result; errstr: in place of errnum's own text."""
        self._end(OSError(errnum, errstr or os.strerror(errnum)))

    def get_flux(self) -> Flux | None:
        """The handle the future belongs to, None without one."""
        return cast("Flux | None", self._handle)  # the only class there is that is a Home

    def set_flux(self, flux_handle: Flux) -> None:
        """Belong to a handle. Raises OSError (EINVAL) when a request went over another connection."""
        if self._session is not None and flux_handle.link.session is not self._session:
            raise named_error(errno.EINVAL)
        self._handle = flux_handle

    def incref(self) -> None:
        """Does nothing: Python counts the references."""
