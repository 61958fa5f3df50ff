# SPDX-License-Identifier: Apache-2.0
"""What can be iterated over as long as messages come: the frame of event subscriptions and of streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typing_extensions import Self

__all__ = ["Source"]

T = TypeVar("T")


class Source(ABC, Generic[T]):
    """Opened by ``async with`` or by the first step of an ``async for``, and closed when that is left, anyhow.

    An ``async for`` inside the ``async with`` leaves it open, so that another one may go on.
    """

    _is_open = False

    @abstractmethod
    async def _open(self) -> None:
        """Have messages sent here."""

    @abstractmethod
    def _close(self) -> None:
        """Have no more sent. Does not wait, so that a task which is being cancelled can."""

    @abstractmethod
    async def __anext__(self) -> T:
        """The next one; raises StopAsyncIteration at the good end, OSError at any other."""

    async def __aenter__(self) -> Self:
        await self._open()
        self._is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._is_open:
            self._is_open = False
            self._close()

    async def __aiter__(self) -> AsyncIterator[T]:
        is_opener = not self._is_open
        if is_opener:
            await self.__aenter__()
        try:
            while True:
                try:
                    item = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if is_opener:
                await self.__aexit__()
