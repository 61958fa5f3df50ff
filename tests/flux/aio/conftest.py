"""Runs coroutines on each kind of loop, and plays the far end of a handle's connection for them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest
import uvloop

import flux.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from flux.packet import Packet
    from tests.flux.conftest import Peer

T = TypeVar("T")
DEADLINE_S = 20


class Run(Protocol):
    """Runs a coroutine to its end on a loop of its own."""

    def __call__(self, main: Coroutine[Any, Any, T]) -> T: ...


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Each test that uses it is held on both loops."""

    def run_to_the_end(main: Coroutine[Any, Any, T]) -> T:
        limited = _limited(main)
        return uvloop.run(limited) if request.param == "uvloop" else asyncio.run(limited)

    return run_to_the_end


async def _limited(main: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wait_for(main, DEADLINE_S)


@contextlib.asynccontextmanager
async def connected_to(peer: Peer, **options: Any) -> AsyncIterator[flux.aio.Flux]:
    """A handle whose far end is the peer."""
    welcome = asyncio.create_task(asyncio.to_thread(peer.welcome))
    async with flux.aio.Flux(peer.uri, **options) as handle:
        await welcome
        yield handle


async def read_from(peer: Peer) -> Packet:
    """What the peer reads next, while the loop goes on."""
    return await asyncio.to_thread(peer.read)


async def answer_next(peer: Peer, payload: bytes | None = None, errnum: int = 0) -> Packet:
    """Have the peer answer the next request; the request."""
    asked = await read_from(peer)
    peer.answer(asked, payload, errnum)
    return asked


async def turn_until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0)


def make_unfindable(peer: Peer) -> None:
    """Nobody can connect to it any more."""
    Path(peer.uri.removeprefix("local://")).unlink()
