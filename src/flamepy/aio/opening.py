# SPDX-License-Identifier: Apache-2.0
"""What is awaited to get something, or entered to have it closed in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from types import TracebackType

__all__ = ["Opening"]


class _Closable(Protocol):
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


_C = TypeVar("_C", bound=_Closable)


class Opening(Generic[_C]):
    """``x = await opening`` or ``async with opening as x``; once."""

    def __init__(self, coroutine: Coroutine[Any, Any, _C]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, _C]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> _C:
        self._opened = await self._coroutine
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, traceback)
