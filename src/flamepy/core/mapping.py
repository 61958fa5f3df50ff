# SPDX-License-Identifier: Apache-2.0
"""`Session.map`: one task for each input, a bounded number of them out at once."""

from __future__ import annotations

import errno
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, overload

from flamepy.core.errors import FORKED, lost_error
from flamepy.core.futures import LeanFuture
from flamepy.core.requests import options_of
from flamepy.core.types import FlameError
from flamepy.core.windows import AsCompleted, InOrder, Taken, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

    from typing_extensions import Unpack

    from flamepy.core.session import Session

__all__ = ["IN_FLIGHT", "REPORT_S", "MapOptions", "Progress", "Shape", "check_in_flight", "map_inputs"]

IN_FLIGHT = 1000
"""Enough to keep executors busy with tasks of microseconds, and little to keep in memory."""

REPORT_S = 0.1
"""Between two reports of progress: people see no difference, and a fast map is not slowed down."""


class MapOptions(TypedDict, total=False):
    """What every form of `map_inputs` takes."""

    in_flight: int
    progress: Callable[[int, int], object] | None
    timeout: float | None
    max_retries: int | None


@overload
def map_inputs(
    session: Session, inputs: Iterable[bytes], *, ordered: Literal[True] = True, **options: Unpack[MapOptions]
) -> Generator[bytes | None, None, None]: ...
@overload
def map_inputs(
    session: Session,
    inputs: Iterable[bytes],
    *,
    ordered: Literal[True] = True,
    return_exceptions: Literal[True],
    **options: Unpack[MapOptions],
) -> Generator[bytes | FlameError | None, None, None]: ...
@overload
def map_inputs(
    session: Session, inputs: Iterable[bytes], *, ordered: Literal[False], **options: Unpack[MapOptions]
) -> Generator[tuple[int, bytes | None], None, None]: ...
@overload
def map_inputs(
    session: Session,
    inputs: Iterable[bytes],
    *,
    ordered: Literal[False],
    return_exceptions: Literal[True],
    **options: Unpack[MapOptions],
) -> Generator[tuple[int, bytes | FlameError | None], None, None]: ...
def map_inputs(
    session: Session,
    inputs: Iterable[bytes],
    *,
    ordered: bool = True,
    in_flight: int = IN_FLIGHT,
    progress: Callable[[int, int], object] | None = None,
    return_exceptions: bool = False,
    timeout: float | None = None,
    max_retries: int | None = None,
) -> Generator[Any, None, None]:
    """Run one task for each input and iterate over their outputs, in the order of the inputs.

    Lazy: inputs may be endless. Nothing is submitted before the first ``next``, and at most in_flight tasks
    are out at once, counting those whose output waits to be handed out.

    ordered: False hands out ``(index, output)`` as tasks complete, index counting the inputs from 0.
    return_exceptions: a task that fails, or an input that `run` refuses, raises its FlameError in its place
    and ends the iteration; with True the error is handed out like an output.
    progress: called with the numbers of outputs handed out and of tasks submitted, on the thread that
    iterates, when they have changed but at most ten times a second, and at the end.
    timeout, max_retries: of each task, see `run`.

    What inputs or progress raise comes out at once. An iteration that ends early, by that, an error, a
    break or ``close``, cancels what is out. An iterator is for one thread at a time, and for the process
    that made it. Raises ValueError for in_flight below 1, FlameError INVALID_ARGUMENT for options out of bounds.
    """
    check_in_flight(in_flight)
    options = options_of(timeout, max_retries)
    window: Window = InOrder() if ordered else AsCompleted()
    shape = Shape(has_index=not ordered, returns_errors=return_exceptions)
    run = session.run if options is None else partial(session.run, timeout=timeout, max_retries=max_retries)
    return _Mapping(session, run, window, Progress(window, progress), shape).outcomes(iter(inputs), in_flight)


def check_in_flight(in_flight: int) -> None:
    """Raise ValueError for less than one, TypeError for what is no whole number."""
    if not isinstance(in_flight, int):
        raise TypeError(f"in_flight: got {in_flight!r}, want a whole number")
    if in_flight < 1:
        raise ValueError(f"in_flight: got {in_flight}, want 1 or more")


class Counted(Protocol):
    """A window, as far as progress is concerned."""

    taken: int

    def __len__(self) -> int:
        """How many are out."""


class Progress:
    """How far a map is, and telling it now and then. With report None nothing is ever told."""

    def __init__(self, window: Counted, report: Callable[[int, int], object] | None) -> None:
        self._window = window
        self._report = report
        self._told: tuple[int, int] | None = None
        self._due = 0.0

    def due_in_s(self) -> float | None:
        """How soon there is something to tell, 0 for now; None when there is nothing new."""
        if self._report is None or self._told == self._now():
            return None
        return max(0.0, self._due - time.monotonic())

    def tell_if_due(self) -> None:
        """Report what is new if the last report was long enough ago."""
        if self._report is not None and self.due_in_s() == 0:
            self.tell()

    def tell(self) -> None:
        """Report at once what is new."""
        now = self._now()
        if self._report is not None and self._told != now:
            self._told = now
            self._due = time.monotonic() + REPORT_S
            self._report(*now)

    def _now(self) -> tuple[int, int]:
        return self._window.taken, self._window.taken + len(self._window)


class Shape:
    """What is handed out for an outcome."""

    def __init__(self, *, has_index: bool, returns_errors: bool) -> None:
        self._has_index = has_index
        self._returns_errors = returns_errors

    def of(self, taken: Taken) -> object:
        """Raises the error unless errors are handed out."""
        index, (error, output) = taken
        if error is not None and not self._returns_errors:
            raise error
        outcome = output if error is None else error
        return (index, outcome) if self._has_index else outcome


class _Mapping:
    """One iteration under way."""

    def __init__(
        self,
        session: Session,
        run: Callable[[bytes], Future[bytes | None]],
        window: Window,
        progress: Progress,
        shape: Shape,
    ) -> None:
        self._session = session
        self._run = run
        self._window = window
        self._progress = progress
        self._shape = shape
        self._owner = os.getpid()

    def outcomes(self, inputs: Iterator[bytes], in_flight: int) -> Generator[Any, None, None]:
        """Submit and hand out by turns, so that the window stays as full as it was when the first was done."""
        window, progress, run, shaped = self._window, self._progress, self._run, self._shape.of
        try:
            for data in inputs:
                try:
                    window.add(run(data))
                except FlameError as error:
                    window.add(_refused(error))
                progress.tell_if_due()
                taken = window.take_nowait()
                if taken is not None:
                    yield shaped(taken)
                elif len(window) == in_flight:
                    yield shaped(self._wait_and_take())
            while len(window):
                yield shaped(window.take_nowait() or self._wait_and_take())
            progress.tell()
        finally:
            if os.getpid() == self._owner:
                window.cancel()

    def _wait_and_take(self) -> Taken:
        """The next that is done; while waiting for it, tell how far we are."""
        if os.getpid() != self._owner:  # what is out comes to the parent
            raise lost_error(self._session.connection.addr, OSError(errno.ECHILD, FORKED))
        self._session.connection.link.check_may_wait("map")
        while True:
            taken = self._window.take(self._progress.due_in_s())
            if taken is not None:
                return taken
            self._progress.tell()


def _refused(error: FlameError) -> LeanFuture:
    """A task that never was; its error waits for its turn."""
    future = LeanFuture()
    future.set_exception(error)
    return future
