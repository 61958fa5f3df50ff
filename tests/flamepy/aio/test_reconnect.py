"""The daemon is killed and started again: who waits on asyncio gets what he waited for."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, TaskState, aio
from tests.conftest import DEADLINE_S, NOTHING, Daemon, actor_session, expect_refusal, register_actor
from tests.flamepy.aio.conftest import on_asyncio, turn_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Gate, Place
    from tests.flamepy.aio.conftest import Run

TURNS = 1000
"""Of the loop: many more than it takes to notice anything, and soon over."""


@pytest.fixture
def daemon(place: Place) -> Iterator[Daemon]:
    """One whose executors look for it when it is gone."""
    daemon = Daemon(place, FLAME_RECONNECT_TIMEOUT=f"{DEADLINE_S}")
    yield daemon
    daemon.stop()


@pytest.fixture
def session(daemon: Daemon) -> Iterator[flamepy.Session]:
    """A session of the actor, made by somebody else."""
    connection = daemon.connect(DEADLINE_S)
    register_actor(connection)
    yield actor_session(connection, instances=2)
    connection.close()


def test_futures_made_before_the_kill_have_their_answers_after_it(
    run: Run, daemon: Daemon, session: flamepy.Session
) -> None:
    async def main() -> None:
        async with on_asyncio(session, DEADLINE_S) as here:
            futures = [here.run(b"%d" % number) for number in range(20_000)]
            for number in (1000, 5000):
                await futures[number]
                await asyncio.to_thread(daemon.restart)
            assert await asyncio.gather(*futures) == [b"%d" % number for number in range(20_000)]
            now = await here.connection.get_session(here.id)
            assert (now.succeed, now.failed, now.pending, now.running) == (20_000, 0, 0, 0)

    run(main())


def test_a_map_goes_on(run: Run, daemon: Daemon, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session, DEADLINE_S) as here:
            expected = itertools.count()
            async for output in here.map(b"%d" % number for number in range(5000)):
                number = next(expected)
                assert output == b"%d" % number
                if number % 2000 == 1000:
                    await asyncio.to_thread(daemon.restart)
            assert next(expected) == 5000

    run(main())


def test_what_is_asked_while_it_is_gone_is_answered_when_it_is_back(
    run: Run, daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    async def main() -> None:
        async with on_asyncio(session, DEADLINE_S) as here:
            at_work = here.run(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            daemon.kill()
            asked = [
                asyncio.ensure_future(one)
                for one in (
                    here.invoke(b"x"),
                    here.create_task(b"y"),
                    here.connection.get_session(here.id),
                    here.connection.drain(),
                )
            ]
            given_up = here.run(b"z")
            await asyncio.sleep(0)
            given_up.cancel()
            asked[2].cancel()
            await asyncio.to_thread(daemon.start)
            gate.open()
            assert (await at_work, await asked[0]) == (b"through", b"x")
            assert isinstance(await asked[1], flamepy.Task)
            await asked[3]
            with pytest.raises(asyncio.CancelledError):
                await asked[2]

    run(main())


def test_an_application_and_a_session_are_made_though_the_daemon_was_gone(
    run: Run, daemon: Daemon, session: flamepy.Session
) -> None:
    async def main() -> None:
        async with aio.connect(daemon.uri, reconnect_timeout=DEADLINE_S) as connection:
            daemon.kill()
            registering = asyncio.ensure_future(connection.register_application("other", {"command": "python3"}))
            creating = asyncio.ensure_future(_create(connection))
            await asyncio.to_thread(daemon.start)
            await registering
            assert await (await creating).invoke(b"x") == b"x"
            await connection.unregister_application("other")
            with expect_refusal(FlameErrorCode.ALREADY_EXISTS):
                await connection.create_session(SessionAttributes("actor", "made", resreq=NOTHING))

    run(main())


async def _create(connection: aio.Connection) -> aio.Session:
    return await connection.create_session(SessionAttributes("actor", "made", max_instances=1, resreq=NOTHING))


def test_a_watch_goes_on_and_tells_no_state_twice(
    run: Run, daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    async def main() -> None:
        async with on_asyncio(session, DEADLINE_S) as here:
            task = await here.create_task(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            states: list[TaskState] = []
            async for state in here.watch_task(task.id, DEADLINE_S):
                states.append(state.state)
                if len(states) == 1:
                    await asyncio.to_thread(daemon.restart)
                    gate.open()
            assert states[0] is TaskState.RUNNING
            assert states[-1] is TaskState.SUCCEED
            assert all(one is not other for one, other in itertools.pairwise(states))

    run(main())


def test_the_trying_ends_with_its_time(run: Run, daemon: Daemon, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session, 0.2) as here:
            waiting = here.run(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            daemon.kill()
            with expect_refusal(FlameErrorCode.INTERNAL, f"connection to {daemon.uri} is lost"):
                await waiting
            with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
                await here.connection.list_sessions()
            with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
                await here.connection.drain()

    run(main())
    gate.open()
    daemon.start()


def test_who_closes_while_it_is_gone_waits_for_nothing(
    run: Run, daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    async def main() -> None:
        for has_noticed in (False, True):
            async with on_asyncio(session, DEADLINE_S) as here:
                waiting = here.run(gate.task)
                await asyncio.to_thread(gate.wait_until_reached)
                daemon.kill()
                if has_noticed:
                    await turn_until(lambda: here.connection.link.is_reconnecting)
                asked = asyncio.ensure_future(here.connection.list_sessions())
                await asyncio.sleep(0)
                closing = asyncio.ensure_future(here.connection.close())
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                assert closing.done()
                for future in (waiting, asked):
                    with expect_refusal(FlameErrorCode.INTERNAL, "the connection was closed"):
                        await future
            await asyncio.to_thread(daemon.start)

    run(main())
    gate.open()


def test_a_loop_that_ends_while_it_is_gone_leaves_nothing_behind(
    run: Run, daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    waiting: list[asyncio.Future[bytes | None]] = []

    async def main() -> None:
        connection = await aio.connect(daemon.uri, reconnect_timeout=DEADLINE_S)
        here = await connection.get_session(session.id)
        waiting.append(here.run(gate.task))
        await asyncio.to_thread(gate.wait_until_reached)
        daemon.kill()
        await asyncio.wait([asyncio.ensure_future(connection.list_sessions())], timeout=0.05)

    run(main())
    assert isinstance(waiting[0].exception(), flamepy.FlameError)
    gate.open()
    daemon.start()
