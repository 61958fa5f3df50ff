"""Connecting on asyncio, applications and sessions, and what becomes of a connection that ends."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, SessionState, aio
from flamepy.protocol import InstanceStatus
from tests.conftest import DEADLINE_S, NOTHING, SOURCE, expect_refusal
from tests.flamepy.aio.conftest import on_asyncio
from tests.forking import in_a_child

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.conftest import Daemon, Gate, NewSession
    from tests.flamepy.aio.conftest import Run

ACTOR = SessionAttributes("actor", max_instances=1, resreq=NOTHING)
LOOKS = 10_000
"""At the instance, until it must have seen something."""


# -- connecting


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("", "address cannot be empty"),
        ("http://127.0.0.1:8080", "scheme 'http' is not served"),
        ("local:///nowhere/local-0", "start one: hearth up"),
    ],
)
def test_an_address_where_nobody_is_is_refused(run: Run, address: str, text: str) -> None:
    async def main() -> None:
        with expect_refusal(FlameErrorCode.INVALID_CONFIG, text):
            await aio.connect(address)

    run(main())


def test_a_peer_that_hangs_up_at_once_is_no_instance(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with expect_refusal(FlameErrorCode.INVALID_CONFIG, "no instance answers"):
            await aio.connect(f"local://{tmp_path / 'socket'}")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        host = threading.Thread(target=lambda: listener.accept()[0].close())
        host.start()
        run(main())
        host.join()


def test_without_an_address_the_configured_instance_is_meant(
    run: Run, shared_daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", shared_daemon.uri)

    async def main() -> str:
        async with aio.connect() as connection:
            return connection.addr

    assert run(main()) == shared_daemon.uri


def test_who_cannot_use_async_with_awaits_and_closes(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        connection = await aio.connect(shared_daemon.uri)
        session = await connection.create_session(ACTOR)
        assert await session.invoke(b"x") == b"x"
        await session.close()
        await connection.close()
        await connection.close()

    run(main())


# -- applications and sessions


def test_applications_come_and_go(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            await connection.register_application("aio-app", {"command": "python3"})
            with expect_refusal(FlameErrorCode.ALREADY_EXISTS):
                await connection.register_application("aio-app", flamepy.ApplicationAttributes())
            application = await connection.get_application("aio-app")
            assert application is not None
            assert application.command == "python3"
            assert "aio-app" in [one.name for one in await connection.list_applications()]
            await connection.update_application("aio-app", {"command": "other"})
            updated = await connection.get_application("aio-app")
            assert updated is not None
            assert updated.command == "other"
            await connection.unregister_application("aio-app")
            assert await connection.get_application("aio-app") is None
            with pytest.raises(TypeError, match="comand"):
                await connection.register_application("aio-app", {"comand": "python3"})

    run(main())


def test_sessions_are_made_opened_looked_at_listed_and_closed(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            async with connection.create_session(ACTOR) as session:
                assert session.id.startswith("actor-")
                assert (session.application, session.state) == ("actor", SessionState.OPEN)
                assert session.connection is connection
                assert await session.invoke(b"x") == b"x"
                assert (await connection.open_session(session.id)).id == session.id
                assert (await connection.get_session(session.id)).succeed == 1
                assert session.id in [one.id for one in await connection.list_sessions()]
            assert (await connection.get_session(session.id)).state is SessionState.CLOSED
            assert (await connection.close_session(session.id)).state is SessionState.CLOSED

    run(main())


def test_a_block_that_ends_well_ends_when_its_tasks_have_ended(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            async with connection.create_session(ACTOR) as session:
                futures = [session.run(b"%d" % number) for number in range(100)]
            assert await asyncio.gather(*futures) == [b"%d" % number for number in range(100)]
            assert (await connection.get_session(session.id)).state is SessionState.CLOSED

    run(main())


def test_a_block_left_by_an_error_cancels_what_runs_and_raises_it(run: Run, shared_daemon: Daemon, gate: Gate) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            running: list[asyncio.Future[bytes | None]] = []
            with expect_refusal(FlameErrorCode.INTERNAL, "the program's own"):
                async with connection.create_session(ACTOR) as session:
                    running.append(session.run(gate.task))
                    await asyncio.to_thread(gate.wait_until_reached)
                    raise flamepy.FlameError(FlameErrorCode.INTERNAL, "the program's own")
            with expect_refusal(FlameErrorCode.INVALID_STATE):
                await running[0]
            assert (await connection.get_session(session.id)).state is SessionState.CLOSED

    run(main())


def test_the_error_that_ends_a_block_is_not_hidden_by_a_lost_connection(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            with expect_refusal(FlameErrorCode.INTERNAL, "the program's own"):
                async with here:
                    await here.connection.close()
                    raise flamepy.FlameError(FlameErrorCode.INTERNAL, "the program's own")

    run(main())


def test_a_session_closed_and_deleted_within_its_block_ends_it_well(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            async with connection.create_session(ACTOR) as session:
                with expect_refusal(FlameErrorCode.INVALID_STATE):
                    await connection.delete_session(session.id)
                await session.close()
                await connection.delete_session(session.id)
            with expect_refusal(FlameErrorCode.NOT_FOUND):
                await connection.get_session(session.id)

    run(main())


def test_closing_is_refused_while_a_task_runs_unless_one_says_how(run: Run, shared_daemon: Daemon, gate: Gate) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            session = await connection.create_session(ACTOR)
            running = session.run(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            with expect_refusal(FlameErrorCode.INVALID_STATE):
                await session.close()
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "not with both"):
                await session.close(drain=True, force=True)
            closing = asyncio.ensure_future(session.close(drain=True))
            await asyncio.sleep(0)  # let it ask
            with expect_refusal(FlameErrorCode.INVALID_STATE):
                await session.invoke(b"too late")
            gate.open()
            await closing
            assert await running == b"through"

    run(main())


def test_nodes_and_executors_are_listed(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            await here.invoke(b"x")
            (node,) = await here.connection.list_nodes()
            assert (await here.connection.get_node(node.metadata.name)).metadata.name == node.metadata.name
            executors = await here.connection.list_executors()
            assert here.id in [executor.status.session_id for executor in executors]

    run(main())


def test_a_session_is_opened_with_its_own_attributes_only(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            session_id = f"opened-{type(asyncio.get_running_loop()).__module__.split('.')[0]}"
            with expect_refusal(FlameErrorCode.NOT_FOUND, "not found"):
                await connection.open_session(session_id)
            async with connection.open_session(session_id, ACTOR) as session:
                assert session.id == session_id
                with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "spec mismatch"):
                    await connection.open_session(session_id, SessionAttributes("actor"))

    run(main())


def test_misuse_has_the_codes_of_the_other_interface(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            with expect_refusal(FlameErrorCode.NOT_FOUND):
                await connection.create_session(SessionAttributes("nobody"))
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "common_data must be bytes"):
                wrong: Any = "text"
                await connection.create_session(SessionAttributes("actor", common_data=wrong))
            for unknown in (connection.get_session, connection.close_session):
                with expect_refusal(FlameErrorCode.NOT_FOUND):
                    await unknown("nobody")

    run(main())


def test_a_request_that_is_given_up_disturbs_no_other(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as connection:
            for number in range(200):
                given_up = asyncio.ensure_future(connection.list_sessions())
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                given_up.cancel()
                name = f"none-{number}"
                with expect_refusal(FlameErrorCode.NOT_FOUND, name):
                    await connection.get_session(name)

    run(main())


# -- the end of a connection


def test_everything_on_a_closed_connection_is_refused(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            connection = here.connection
        uses: list[Callable[[], Coroutine[Any, Any, object]]] = [
            connection.list_sessions,
            lambda: here.invoke(b"x"),
            lambda: here.create_task(b"x"),
            lambda: anext(here.list_tasks()),
            lambda: anext(here.watch_task("1")),
            lambda: anext(here.map([b"x"])),
            connection.drain,
            here.close,
        ]
        for use in uses:
            with expect_refusal(FlameErrorCode.INTERNAL, connection.addr, "is lost: the connection was closed"):
                await use()
        with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
            here.run(b"x")

    run(main())


def test_what_was_submitted_before_closing_arrives(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            futures = [here.run(b"x") for _ in range(100)]
        await asyncio.wait(futures)
        assert {type(future.exception()) for future in futures} <= {flamepy.FlameError, type(None)}

    run(main())
    assert len(list(session.list_tasks())) == 100


def test_all_that_waits_fails_when_the_instance_dies(
    run: Run, own_daemon: Daemon, own_client: flamepy.Connection, gate: Gate
) -> None:
    made = own_client.create_session(ACTOR)

    async def main() -> None:
        async with on_asyncio(made) as session:
            waiting: list[asyncio.Future[Any]] = [
                session.run(gate.task),
                session.run(b"behind it"),
                asyncio.ensure_future(session.invoke(b"behind it")),
                asyncio.ensure_future(anext(session.map([b"behind it"]))),
            ]
            watcher = session.watch_task("1", DEADLINE_S)
            await asyncio.to_thread(gate.wait_until_reached)
            assert (await anext(watcher)).state is flamepy.TaskState.RUNNING
            waiting.append(asyncio.ensure_future(anext(watcher)))
            own_daemon.kill()
            for future in waiting:
                with expect_refusal(FlameErrorCode.INTERNAL, f"connection to {own_daemon.uri} is lost"):
                    await future
            with expect_refusal(FlameErrorCode.INTERNAL, "is lost"):
                session.run(b"too late")

    run(main())
    gate.open()


def test_a_connection_that_is_left_open_warns_and_is_closed(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        connection = await aio.connect(shared_daemon.uri)
        session = await connection.create_session(ACTOR)
        await session.close()

    with pytest.warns(ResourceWarning, match=r"unclosed <flamepy.aio.Connection 'local://"):
        run(main())


# -- loops and processes


def test_another_loop_is_told_to_connect_by_itself(shared_daemon: Daemon, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:

            async def elsewhere() -> None:
                with expect_refusal(FlameErrorCode.INVALID_STATE, "belongs to another event loop", shared_daemon.uri):
                    here.run(b"x")
                with expect_refusal(FlameErrorCode.INVALID_STATE, "run_coroutine_threadsafe"):
                    await here.connection.list_sessions()

            await asyncio.to_thread(asyncio.run, elsewhere())
            with expect_refusal(FlameErrorCode.INVALID_STATE, "another event loop"):
                await asyncio.to_thread(here.run, b"x")
            assert await here.invoke(b"here") == b"here"

    asyncio.run(main())


def test_loops_in_several_threads_have_connections_of_their_own(run: Run, new_session: NewSession) -> None:
    session = new_session(instances=2)

    async def main(thread: int) -> bool:
        async with on_asyncio(session) as here:
            inputs = [b"%d %d" % (thread, number) for number in range(500)]
            return await asyncio.gather(*map(here.run, inputs)) == inputs

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda thread: run(main(thread)), range(4)))


def test_a_forked_child_is_told_that_the_connection_is_the_parent_s(
    run: Run, session: flamepy.Session, gate: Gate
) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            waiting = here.run(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)

            def child() -> None:
                with expect_refusal(FlameErrorCode.INVALID_STATE, "made before a fork; connect again in the child"):
                    here.run(b"x")
                asyncio._set_running_loop(None)
                asyncio.run(in_the_child())

            async def in_the_child() -> None:
                with expect_refusal(FlameErrorCode.INVALID_STATE, "made before a fork"):
                    await here.connection.list_sessions()
                async with on_asyncio(session) as anew:
                    assert len([task async for task in anew.list_tasks()]) == 1

            assert in_a_child(child) == 0
            gate.open()
            assert await waiting == b"through"

    run(main())


def test_the_end_of_the_parent_s_connection_is_seen_while_a_child_lives(run: Run, shared_daemon: Daemon) -> None:
    async def main() -> None:
        async with aio.connect(shared_daemon.uri) as watcher, aio.connect(shared_daemon.uri) as connection:
            ours = (await _status(watcher)).connections
            child_waits, parent_lets_go = os.pipe()
            pid = _fork()
            if pid == 0:
                os.close(parent_lets_go)
                os.read(child_waits, 1)
                os._exit(0)
            os.close(child_waits)
            await connection.close()
            for _ in range(LOOKS):
                if (await _status(watcher)).connections == ours - 1:
                    break
            else:
                pytest.fail("the instance still sees the connection")
            os.close(parent_lets_go)
            await asyncio.to_thread(os.waitpid, pid, 0)

    run(main())


async def _status(connection: aio.Connection) -> InstanceStatus:
    return await connection.link.ask("flame.status", None, InstanceStatus)


def _fork() -> int:
    with warnings.catch_warnings():
        # From Python 3.12 on: forking with threads is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def test_flamepy_alone_loads_no_asyncio() -> None:
    script = "import sys, flamepy; print('asyncio' in sys.modules); import flamepy.aio; print('asyncio' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\nTrue\n"
