"""The module-level helpers on asyncio: one connection for each loop, made on first use and closed with the loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionState, aio
from tests.conftest import DEADLINE_S, NOTHING, expect_refusal

if TYPE_CHECKING:
    from tests.conftest import Daemon, Place
    from tests.flamepy.aio.conftest import Run


@pytest.fixture(autouse=True)
def configured(shared_daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", shared_daemon.uri)


FIRST_PROGRAM = """
import asyncio, flamepy.aio

async def main():
    async with flamepy.aio.create_session("flmping") as session:
        print(await session.invoke(b"hello"))

asyncio.run(main())
asyncio.run(main())
"""


def test_the_first_program_runs_with_nothing_configured_and_leaves_nothing(place: Place) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", FIRST_PROGRAM],
        env=place.environment(),
        cwd=place.home,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second = ran.stdout.splitlines()
    assert first.startswith('b\'{"message":"Completed on <')
    assert second.startswith('b\'{"message":"Completed on <')


def test_the_helpers_are_those_of_a_connection(run: Run) -> None:
    async def main() -> None:
        await aio.register_application("aio-helper", {"command": "python3"})
        application = await aio.get_application("aio-helper")
        assert application is not None
        assert application in await aio.list_applications()
        await aio.unregister_application("aio-helper")
        async with aio.create_session("actor", b"common", max_instances=1, resreq=NOTHING, priority=3) as session:
            assert session.common_data() == b"common"
            assert await (await aio.open_session(session.id)).invoke(b"x") == b"x"
            assert (await aio.get_session(session.id)).succeed == 1
            assert session.id in [one.id for one in await aio.list_sessions()]
        assert (await aio.close_session(session.id)).state is SessionState.CLOSED
        with expect_refusal(FlameErrorCode.NOT_FOUND):
            await aio.open_session("nobody")

    run(main())


def test_all_coroutines_of_a_loop_share_one_connection(run: Run) -> None:
    async def main() -> None:
        connections = await asyncio.gather(*(aio.shared_connection() for _ in range(10)))
        assert len(set(connections)) == 1

    run(main())


def test_each_loop_has_its_own_and_closes_it(run: Run) -> None:
    async def main() -> aio.Connection:
        await aio.list_sessions()
        return await aio.shared_connection()

    with ThreadPoolExecutor(3) as threads:
        connections = list(threads.map(lambda _: run(main()), range(3)))
    assert len(set(connections)) == 3
    assert all(connection.link.is_lost for connection in connections)


def test_a_connection_that_was_closed_is_replaced(run: Run) -> None:
    async def main() -> None:
        first = await aio.shared_connection()
        await first.close()
        assert isinstance(await aio.list_sessions(), list)
        assert await aio.shared_connection() is not first

    run(main())


def test_a_caller_who_gives_up_while_it_connects_leaves_it_to_the_next(run: Run) -> None:
    async def main() -> None:
        first = asyncio.ensure_future(aio.list_sessions())
        second = asyncio.ensure_future(aio.list_sessions())
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, list)
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main())


def test_who_is_not_on_a_loop_is_told(session: flamepy.Session) -> None:
    coroutine = aio.get_session(session.id)
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)
