# SPDX-License-Identifier: Apache-2.0
"""`Session.map` on asyncio: one task for each input, a bounded number of them out at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from flamepy.aio.windows import AsCompleted, InOrder, Window
from flamepy.core.mapping import IN_FLIGHT, Progress, Shape, check_in_flight
from flamepy.core.requests import options_of
from flamepy.core.types import FlameError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

    from typing_extensions import Unpack

    from flamepy.aio.session import Session
    from flamepy.core.mapping import MapOptions

__all__ = ["map_inputs"]


@overload
def map_inputs(
    session: Session,
    inputs: Iterable[bytes] | AsyncIterable[bytes],
    *,
    ordered: Literal[True] = True,
    **options: Unpack[MapOptions],
) -> AsyncGenerator[bytes | None, None]: ...
@overload
def map_inputs(
    session: Session,
    inputs: Iterable[bytes] | AsyncIterable[bytes],
    *,
    ordered: Literal[True] = True,
    return_exceptions: Literal[True],
    **options: Unpack[MapOptions],
) -> AsyncGenerator[bytes | FlameError | None, None]: ...
@overload
def map_inputs(
    session: Session,
    inputs: Iterable[bytes] | AsyncIterable[bytes],
    *,
    ordered: Literal[False],
    **options: Unpack[MapOptions],
) -> AsyncGenerator[tuple[int, bytes | None], None]: ...
@overload
def map_inputs(
    session: Session,
    inputs: Iterable[bytes] | AsyncIterable[bytes],
    *,
    ordered: Literal[False],
    return_exceptions: Literal[True],
    **options: Unpack[MapOptions],
) -> AsyncGenerator[tuple[int, bytes | FlameError | None], None]: ...
def map_inputs(
    session: Session,
    inputs: Iterable[bytes] | AsyncIterable[bytes],
    *,
    ordered: bool = True,
    in_flight: int = IN_FLIGHT,
    progress: Callable[[int, int], object] | None = None,
    return_exceptions: bool = False,
    timeout: float | None = None,
    max_retries: int | None = None,
) -> AsyncGenerator[Any, None]:
    """Run one task for each input and iterate over their outputs with ``async for``: `flamepy.Session.map`.

    As there: lazy, at most in_flight tasks out at once, in the order of the inputs or with ordered=False
    ``(index, output)`` as tasks complete, errors raised in their place or handed out, progress told, and the options
    of `run` for each task.

    inputs: an asynchronous iterable too; outputs are handed out while its next input is waited for. An
    iteration that ends early cancels what is out: a break in the next turns of the loop, ``aclose`` at once.
    """
    check_in_flight(in_flight)
    options = options_of(timeout, max_retries)
    run = session.run if options is None else partial(session.run, timeout=timeout, max_retries=max_retries)
    window: Window = InOrder() if ordered else AsCompleted()
    shape = Shape(has_index=not ordered, returns_errors=return_exceptions)
    mapping = _Mapping(run, window, Progress(window, progress), shape)
    if isinstance(inputs, AsyncIterable):
        return mapping.outcomes_of_stream(aiter(inputs), in_flight)
    return mapping.outcomes(iter(inputs), in_flight)


class _Mapping:
    """One iteration under way."""

    def __init__(
        self,
        run: Callable[[bytes], asyncio.Future[bytes | None]],
        window: Window,
        progress: Progress,
        shape: Shape,
    ) -> None:
        self._run = run
        self._window = window
        self._progress = progress
        self._shape = shape

    async def outcomes(self, inputs: Iterator[bytes], in_flight: int) -> AsyncGenerator[Any, None]:
        """Submit and hand out by turns, so that the window stays as full as it was when the first was done."""
        window, progress, shaped = self._window, self._progress, self._shape.of
        try:
            for data in inputs:
                self._add(data)
                progress.tell_if_due()
                while (taken := window.take_nowait()) is None and len(window) == in_flight:
                    await self._wait()
                if taken is not None:
                    yield shaped(taken)
            while len(window):
                while (taken := window.take_nowait()) is None:
                    await self._wait()
                yield shaped(taken)
            progress.tell()
        finally:
            window.cancel()

    async def outcomes_of_stream(self, inputs: AsyncIterator[bytes], in_flight: int) -> AsyncGenerator[Any, None]:
        """The same, but the next input is waited for together with the next output."""
        window, progress, shaped = self._window, self._progress, self._shape.of
        coming: asyncio.Future[bytes] | None = self._next_of(inputs)
        try:
            while coming is not None or len(window):
                if coming is not None and coming.done() and len(window) < in_flight:
                    try:
                        self._add(coming.result())
                        coming = self._next_of(inputs)
                    except StopAsyncIteration:
                        coming = None
                elif (taken := window.take_nowait()) is not None:
                    yield shaped(taken)
                else:
                    await self._wait()
            progress.tell()
        finally:
            if coming is not None:
                coming.cancel()
            window.cancel()

    def _next_of(self, inputs: AsyncIterator[bytes]) -> asyncio.Future[bytes]:
        coming = asyncio.ensure_future(anext(inputs))
        coming.add_done_callback(self._window.ring)
        return coming

    def _add(self, data: bytes) -> None:
        """Submit it; a refusal waits for its turn."""
        try:
            task = self._run(data)
        except FlameError as error:
            task = asyncio.get_running_loop().create_future()
            task.set_exception(error)
        self._window.add(task)

    async def _wait(self) -> None:
        """Until there may be something new, or progress has to be told."""
        self._progress.tell_if_due()
        await self._window.wait(self._progress.due_in_s())
