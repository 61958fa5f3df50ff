"""Runs coroutines on each kind of loop, with sessions that the other tests' fixtures have made."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from flamepy import aio
from tests.flux.aio.conftest import Run, run, turn_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import flamepy

__all__ = ["Run", "on_asyncio", "run", "turn_until"]


@contextlib.asynccontextmanager
async def on_asyncio(session: flamepy.Session, reconnect_timeout: float = 0) -> AsyncIterator[aio.Session]:
    """The same session, on a connection of this loop."""
    async with aio.connect(session.connection.addr, reconnect_timeout=reconnect_timeout) as connection:
        yield await connection.get_session(session.id)
