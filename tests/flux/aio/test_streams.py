from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from tests.flux.aio.conftest import connected_to, read_from

if TYPE_CHECKING:
    import flux.aio
    from tests.flux.aio.conftest import Run
    from tests.flux.conftest import Peer


async def collect(stream: flux.aio.Stream, into: list[Any], at_most: int) -> None:
    async for answer in stream:
        into.append(answer)
        if len(into) == at_most:
            return


def test_a_stream_ends_at_enodata(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            answers: list[Any] = []
            free = handle.matchtag_avail()
            reading = asyncio.create_task(collect(handle.stream("s.m", {"a": 1}), answers, 9))
            asked = await read_from(peer)
            assert asked.flags & FLUX_MSGFLAG_STREAMING
            peer.answer(asked, b"1\0")
            peer.answer(asked)
            peer.answer(asked, None, errno.ENODATA)
            await reading
            assert answers == [1, None]
            assert handle.matchtag_avail() == free
            assert peer.has_been_sent_nothing()

    run(main())


def test_a_stream_raises_any_other_error(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            reading = asyncio.create_task(collect(handle.stream("s.m"), [], 9))
            peer.answer(await read_from(peer), b"broken\0", errno.EIO)
            with pytest.raises(OSError, match="broken"):
                await reading

    run(main())


@pytest.mark.parametrize(("cancel", "topic"), [(None, "a.b.cancel"), ("a.b.m-cancel", "a.b.m-cancel")])
def test_a_stream_left_early_is_cancelled_by_its_matchtag(run: Run, peer: Peer, cancel: str | None, topic: str) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            free = handle.matchtag_avail()
            reading = asyncio.create_task(collect(handle.stream("a.b.m", cancel=cancel), [], 1))
            asked = await read_from(peer)
            peer.answer(asked, b"1\0")
            await reading
            cancelling = await read_from(peer)
            assert (cancelling.topic, json.loads((cancelling.payload or b"")[:-1])) == (topic, {"matchtag": asked.aux2})
            assert cancelling.flags & FLUX_MSGFLAG_NORESPONSE
            assert handle.matchtag_avail() == free - 1
            peer.answer(asked, None, errno.ENODATA)
            call = handle.rpc("s.m")
            peer.answer(await read_from(peer))
            await call
            assert handle.matchtag_avail() == free

    run(main())


def test_a_cancelled_task_cancels_its_stream(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            reading = asyncio.create_task(collect(handle.stream("a.m"), [], 9))
            await read_from(peer)
            reading.cancel()
            assert (await read_from(peer)).topic == "a.cancel"
            with pytest.raises(asyncio.CancelledError):
                await reading

    run(main())


def test_a_lost_connection_ends_a_stream_after_what_came_before(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            answers: list[Any] = []
            reading = asyncio.create_task(collect(handle.stream("s.m"), answers, 9))
            peer.answer(await read_from(peer), b"1\0")
            peer.hang_up()
            with pytest.raises(ConnectionResetError):
                await reading
            assert answers == [1]

    run(main())
