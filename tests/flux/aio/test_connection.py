from __future__ import annotations

import asyncio
import errno
import gc
import os
from typing import TYPE_CHECKING

import pytest

import flux.aio
from flux import packet as wire
from flux.errors import InvalidArguments
from flux.message import Message
from tests.flux.aio.conftest import answer_next, connected_to, read_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flux.aio.conftest import Run
    from tests.flux.conftest import Peer

BAD_MAGIC = bytes.fromhex("ffee0012 00000001 00")
BAD_LENGTHS = bytes.fromhex("1200eeff 00000002 05aa")


def test_a_lost_connection_fails_what_waits_and_then_what_comes(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            calls = [handle.rpc("s.m"), handle.rpc("s.n")]
            receiving = asyncio.create_task(handle.recv())
            await read_from(peer)
            peer.hang_up()
            for call in (*calls, receiving):
                with pytest.raises(ConnectionResetError, match="Connection reset by peer"):
                    await call
            with pytest.raises(BrokenPipeError):
                handle.rpc("s.m")
            with pytest.raises(BrokenPipeError):
                await handle.event_send("e")
            with pytest.raises(BrokenPipeError):
                await handle.events("e").__aenter__()
            with pytest.raises(ConnectionResetError):
                await handle.recv()

    run(main())


def test_what_came_before_the_loss_is_given_out(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            events = handle.events("e")
            opening = asyncio.create_task(events.__aenter__())
            await answer_next(peer)
            await opening
            call = handle.rpc("s.m")
            asked = await read_from(peer)
            peer.send(wire.event("e.1"), wire.event("e.2"))
            peer.answer(asked, b"1\0")
            peer.hang_up()
            assert await call == 1
            assert [(await anext(events)).topic for _ in range(2)] == ["e.1", "e.2"]
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    await anext(events)
            await events.__aexit__()

    run(main())


def test_what_came_before_is_read_although_writing_found_the_peer_gone(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            call = handle.rpc("s.m")
            asked = await read_from(peer)
            peer.answer(asked, b"1\0")
            peer.hang_up()
            late = handle.rpc("s.n")
            assert await call == 1
            with pytest.raises(ConnectionResetError):
                await late

    run(main())


def test_a_peer_that_left_messages_unread_is_noticed(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            calls = [handle.rpc("s.m") for _ in range(3)]
            await handle.drain()
            peer.hang_up()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [ConnectionResetError] * 3

    run(main())


@pytest.mark.parametrize(("data", "errnum"), [(BAD_MAGIC, errno.EPROTO), (BAD_LENGTHS, errno.EINVAL)])
def test_a_peer_that_breaks_the_protocol_is_hung_up_on(run: Run, peer: Peer, data: bytes, errnum: int) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            call = handle.rpc("s.m")
            await read_from(peer)
            peer.send_bytes(data)
            with pytest.raises(OSError, match="got") as raised:
                await call
            assert raised.value.errno == errnum
            assert await asyncio.to_thread(peer.is_hung_up_on)

    run(main())


def test_writing_waits_while_the_peer_does_not_read(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            payload = b"x" * 100_000
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(200):
                    await handle.event_send("e", payload)
                    sent += 1

            sending = asyncio.create_task(send())
            await asyncio.wait([sending], timeout=0.05)
            assert not sending.done()
            assert sent < 20
            call = handle.rpc("s.m")
            for _ in range(201):
                message = await read_from(peer)
                if message.topic == "s.m":
                    peer.answer(message, b"1\0")
                else:
                    assert len(message.payload or b"") == len(payload) + 1
            assert await call == 1
            await sending

    run(main())


def test_what_was_sent_last_arrives_although_the_handle_is_closed_at_once(run: Run, peer: Peer) -> None:
    async def main() -> None:
        size = 3_000_000

        async def read() -> int:
            return len((await read_from(peer)).payload or b"")

        reading = None
        async with connected_to(peer) as handle:
            await handle.event_send("e", b"x" * size)
            reading = asyncio.create_task(read())
        assert await reading == size + 1

    run(main())


def test_arguments_of_a_wrong_kind_are_refused_as_by_the_other_handle(run: Run, peer: Peer) -> None:
    async def main() -> None:
        with pytest.raises(InvalidArguments, match="url: want str or bytes, not <class 'int'>"):
            await flux.aio.connect(5)  # type: ignore[arg-type]  # the refusal is the point
        async with connected_to(peer) as handle:
            for use in (handle.send, handle.respond):
                with pytest.raises(InvalidArguments, match="want a Message, not <class 'str'>"):
                    await use("text")  # type: ignore[arg-type]  # the refusal is the point
                with pytest.raises(OSError, match="EINVAL"):
                    await use(None)  # type: ignore[arg-type]  # the refusal is the point

    run(main())


def test_a_closed_handle_is_an_invalid_one(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            call = handle.rpc("s.m")
            events = handle.events("e")
            receiving = asyncio.create_task(handle.recv())
            await read_from(peer)
        with pytest.raises(OSError, match="handle was closed"):
            await call
        with pytest.raises(OSError, match="handle was closed"):
            await receiving
        for use in (events.__aenter__, handle.recv, handle.drain, handle.reconnect, handle.__aenter__):
            with pytest.raises(OSError, match="handle") as raised:
                await use()
            assert raised.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="the handle is closed"):
            handle.rpc("s.m")
        await handle.close()
        assert await asyncio.to_thread(peer.is_hung_up_on)

    run(main())


def test_a_handle_that_was_never_opened_says_how(run: Run, broker: str) -> None:
    async def main() -> None:
        handle = flux.aio.Flux(broker)
        with pytest.raises(OSError, match="async with"):
            await handle.rpc("s.m")
        with pytest.raises(OSError, match="async with"):
            await handle.event_send("e")

    run(main())


def test_a_handle_is_refused_to_other_loops_and_threads(run: Run, broker: str) -> None:
    async def elsewhere(handle: flux.aio.Flux) -> None:
        with pytest.raises(RuntimeError, match="outside of the event loop"):
            await handle.rpc("broker.ping", {"seq": 1})
        with pytest.raises(RuntimeError, match="outside of the event loop"):
            await handle.event_send("e")

    def without_loop(handle: flux.aio.Flux) -> None:
        with pytest.raises(RuntimeError, match=r"outside of the event loop|no running event loop"):
            handle.rpc("broker.ping", {"seq": 1})

    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            await asyncio.to_thread(asyncio.run, elsewhere(handle))
            await asyncio.to_thread(without_loop, handle)
            assert (await handle.rpc("broker.ping", {"seq": 1}))["seq"] == 1

    run(main())


def exit_code_of_child(use: Callable[[], object]) -> int:
    """0 when it is told to open a handle of its own, 1 when nothing is said."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 2
    try:
        use()
        code = 1
    except RuntimeError as error:
        code = 0 if "open a new one after fork" in str(error) else 2
    finally:
        os._exit(code)


def test_a_child_after_fork_is_kept_from_the_parents_stream(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            assert exit_code_of_child(lambda: handle.rpc("from.child")) == 0
            assert exit_code_of_child(handle.__del__) == 1
            call = handle.rpc("from.parent")
            assert (await answer_next(peer, b"1\0")).topic == "from.parent"
            assert await call == 1

    run(main())


def test_a_handle_that_is_not_closed_is_warned_about(run: Run, broker: str) -> None:
    kept: list[flux.aio.Flux] = []

    async def main() -> None:
        kept.append(await flux.aio.connect(broker))

    run(main())
    handle = kept.pop()
    with pytest.warns(ResourceWarning, match=r"unclosed <flux\.aio\.Flux 'local://.*' connected>"):
        handle.__del__()


def test_a_handle_made_by_connect_is_closed_by_hand(run: Run, broker: str) -> None:
    async def main() -> str:
        handle = await flux.aio.connect(broker)
        try:
            return await handle.attr_get("size")
        finally:
            await handle.close()

    assert run(main()) == "1"


@pytest.mark.parametrize(
    ("uri", "error", "text"),
    [
        ("local:///no/such/socket", FileNotFoundError, "broker socket /no/such/socket was not found"),
        ("local://", OSError, "Invalid argument"),
        ("zork://x", FileNotFoundError, "Unable to find connector name 'zork'"),
        ("fd://x", OSError, "error parsing file descriptor"),
        ("./foo", OSError, "invalid URI path element 'foo'"),
    ],
)
def test_an_address_that_leads_nowhere_is_reported(
    run: Run, uri: str, error: type[OSError], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "1")

    async def main() -> None:
        with pytest.raises(error, match=f"Unable to connect to Flux: .*{text}"):
            await flux.aio.connect(uri)

    run(main())


def test_the_instances_around_are_found(run: Run, broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_URI", broker)

    async def main() -> None:
        for url in (None, ".", "..", "/"):
            async with flux.aio.Flux(url) as handle:
                assert await handle.attr_get("local-uri") == broker

    run(main())


@pytest.mark.parametrize(
    ("greeting", "error"), [(b"\1", PermissionError), (b"", ConnectionResetError), (b"\x0d", PermissionError)]
)
def test_a_server_that_does_not_welcome_us_is_reported(
    run: Run, peer: Peer, greeting: bytes, error: type[OSError]
) -> None:
    def greet() -> None:
        peer.welcome(greeting)
        peer.hang_up()

    async def main() -> None:
        greeting_thread = asyncio.create_task(asyncio.to_thread(greet))
        with pytest.raises(error, match="Unable to connect to Flux: "):
            await flux.aio.connect(peer.uri)
        await greeting_thread

    run(main())


def test_a_server_that_says_nothing_may_be_given_up(run: Run, peer: Peer) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(flux.aio.connect(peer.uri), 0.02)

    run(main())


def test_what_is_sent_into_a_loop_comes_back(run: Run) -> None:
    async def main() -> None:
        async with flux.aio.Flux("loop://") as handle:
            request = Message()
            request.topic = "s.m"
            await handle.send(request)
            answer = await handle.recv()
            assert (answer.type_str, answer.topic, answer.errnum) == ("response", "s.m", errno.ENOSYS)

    run(main())


def test_messages_are_traced_on_demand(
    run: Run, broker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLUX_HANDLE_TRACE", "1")

    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            await handle.rpc("broker.ping", {"seq": 1})

    run(main())
    assert "> broker.ping" in capsys.readouterr().err


def test_a_recv_that_is_given_up_again_and_again_leaves_nothing(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            for _ in range(50):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(handle.recv(), 0.0001)
            futures = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Future) and thing.cancelled()]
            assert len(futures) < 10

    run(main())


def test_a_handle_closed_while_it_connects_hangs_up(run: Run, peer: Peer) -> None:
    async def main() -> None:
        handle = flux.aio.Flux(peer.uri)
        opening = asyncio.create_task(handle.__aenter__())
        await asyncio.sleep(0)
        await handle.close()
        await asyncio.to_thread(peer.welcome)
        with pytest.raises(OSError, match="closed"):
            await opening
        assert await asyncio.to_thread(peer.is_hung_up_on)

    run(main())


def test_a_handle_closed_while_it_reconnects_hangs_up(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            reconnecting = asyncio.create_task(handle.reconnect())
            await asyncio.sleep(0)
        await asyncio.to_thread(peer.welcome)
        with pytest.raises(OSError, match="closed"):
            await reconnecting
        assert await asyncio.to_thread(peer.is_hung_up_on)

    run(main())


def test_a_close_that_is_cancelled_hangs_up_nevertheless(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            call = handle.rpc("s.m", "x" * 3_000_000)  # more than the socket takes
            closing = asyncio.create_task(handle.close())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            with pytest.raises(OSError, match="closed"):
                await call

    run(main())
