from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest

import flux.aio
from flux import packet as wire
from flux.constants import FLUX_ROLE_OWNER
from tests.flux.aio.conftest import answer_next, connected_to, make_unfindable, read_from, turn_until
from tests.flux.conftest import running_broker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flux.aio.conftest import Run
    from tests.flux.conftest import Peer

SOON = flux.aio.Reconnect(give_up_s=15, first_delay_s=0.001)


async def drop(peer: Peer) -> asyncio.Task[None]:
    """Hang up, and welcome whoever comes next."""
    peer.hang_up()
    return asyncio.create_task(asyncio.to_thread(peer.welcome))


def test_after_a_loss_calls_go_on_and_those_in_flight_fail(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer, reconnect=SOON) as handle:
            in_flight = handle.rpc("s.m")
            await read_from(peer)
            welcome = await drop(peer)
            with pytest.raises(ConnectionResetError):
                await in_flight
            held = handle.rpc("s.n", {"x": 1})
            given_up = handle.rpc("s.given-up")
            given_up.cancel()
            sending = asyncio.create_task(handle.event_send("e"))
            await welcome
            asked = await answer_next(peer, b"1\0")
            assert (asked.topic, asked.payload) == ("s.n", b'{"x": 1}\0')
            assert await held == 1
            await sending
            assert (await read_from(peer)).topic == "e"

    run(main())


def test_subscriptions_and_services_are_restored_before_anything_else(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer, reconnect=SOON) as handle:
            events, service = handle.events("a.b"), handle.service("s")
            service.method("m")(lambda request: 1)
            for source in (events, service):
                opening = asyncio.create_task(source.__aenter__())
                await answer_next(peer)
                await opening
            for _ in range(2):
                welcome = await drop(peer)
                await turn_until(lambda: " connected>" not in repr(handle))
                call = handle.rpc("x.y")
                await welcome
                asked = [await read_from(peer) for _ in range(2)]
                assert [(packet.topic, json.loads((packet.payload or b"")[:-1])) for packet in asked] == [
                    ("service.add", {"service": "s"}),
                    ("event.subscribe", {"topic": "a.b"}),
                ]
                assert peer.has_been_sent_nothing()
                for packet in asked:
                    peer.answer(packet)
                await answer_next(peer)
                await call
                peer.send(wire.event("a.b.c"))
                assert (await anext(events)).topic == "a.b.c"
                request = wire.request("s.m", None, matchtag=1)
                request.rolemask = FLUX_ROLE_OWNER
                peer.send(request)
                assert (await read_from(peer)).payload == b"1\0"
            await events.__aexit__()
            await service.__aexit__()

    run(main())


def test_a_connection_that_cannot_be_restored_is_tried_again(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer, reconnect=SOON) as handle:
            subscribing = asyncio.create_task(handle.event_subscribe("e"))
            await answer_next(peer)
            await subscribing
            await (await drop(peer))
            await read_from(peer)
            await (await drop(peer))
            await answer_next(peer)
            call = handle.rpc("s.m")
            await answer_next(peer, b"1\0")
            assert await call == 1

    run(main())


def test_a_broker_that_is_started_again_is_found_again(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with contextlib.ExitStack() as brokers:
            uri = brokers.enter_context(running_broker(tmp_path))
            handle = flux.aio.Flux(uri, reconnect=SOON)
            async with handle, handle.events("e") as events, handle.service("greet") as service:
                service.method("hello")(lambda request: {"hello": request.payload})
                await asyncio.to_thread(brokers.close)
                await turn_until(lambda: " connected>" not in repr(handle))
                call = handle.rpc("greet.hello", 1)
                await asyncio.to_thread(brokers.enter_context, running_broker(tmp_path))
                assert await call == {"hello": 1}
                await handle.event_send("e.again")
                assert (await anext(events)).topic == "e.again"

    run(main())


def test_it_gives_up_after_the_stated_time(run: Run, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "0")

    async def main() -> None:
        policy = flux.aio.Reconnect(give_up_s=0.5, first_delay_s=0.001)
        async with connected_to(peer, reconnect=policy) as handle:
            receiving = asyncio.create_task(handle.recv())
            make_unfindable(peer)
            peer.hang_up()
            await turn_until(lambda: " connected>" not in repr(handle))
            with pytest.raises(ConnectionResetError, match=r"gave up after 0\.5 s: .*was not found"):
                await handle.rpc("s.m")
            with pytest.raises(ConnectionResetError, match="gave up"):
                await receiving
            with pytest.raises(BrokenPipeError):
                handle.rpc("s.m")
            with pytest.raises(BrokenPipeError):
                await handle.event_send("e")

    run(main())


def test_a_handle_closed_while_it_reconnects_leaves_nothing_behind(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer, reconnect=True) as handle:
            make_unfindable(peer)
            peer.hang_up()
            await turn_until(lambda: " connected>" not in repr(handle))
            call = handle.rpc("s.m")
        with pytest.raises(OSError, match="handle was closed"):
            await call

    run(main())


def test_reconnect_by_hand_fails_what_was_in_flight_and_restores(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            subscribing = asyncio.create_task(handle.event_subscribe("e"))
            await answer_next(peer)
            await subscribing
            call = handle.rpc("s.m")
            await read_from(peer)
            peer.send(wire.event("e.kept"))
            assert (await handle.recv()).topic == "e.kept"
            welcome = asyncio.create_task(asyncio.to_thread(peer.welcome))
            reconnecting = asyncio.create_task(handle.reconnect())
            await welcome
            assert (await answer_next(peer)).topic == "event.subscribe"
            await reconnecting
            with pytest.raises(ConnectionResetError):
                await call
            peer.send(wire.event("e.new"))
            assert (await handle.recv()).topic == "e.new"

    run(main())


def test_a_reconnect_by_hand_that_fails_leaves_the_handle_as_it_is(
    run: Run, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "0")

    async def main() -> None:
        async with connected_to(peer) as handle:
            make_unfindable(peer)
            with pytest.raises(FileNotFoundError, match="was not found"):
                await handle.reconnect()
            await handle.event_send("e")
            assert (await read_from(peer)).topic == "e"

    run(main())


def test_delays_grow_up_to_the_longest() -> None:
    policy = flux.aio.Reconnect(first_delay_s=1, longest_delay_s=4)
    for delay, top in zip(policy.delays(), [1, 2, 4, 4, 4], strict=False):
        assert top / 2 <= delay <= top


def test_by_hand_it_connects_although_the_attempts_were_given_up(run: Run, peer: Peer) -> None:
    async def main() -> None:
        policy = flux.aio.Reconnect(give_up_s=0.05, first_delay_s=0.01)
        async with connected_to(peer, reconnect=policy) as handle:
            peer.hang_up()
            await turn_until(lambda: "reconnecting" in repr(handle))
            by_hand = asyncio.create_task(handle.reconnect())  # waits for the attempts, which nobody welcomes
            with pytest.raises(ConnectionResetError, match="gave up"):
                await handle.rpc("s.m")
            with pytest.raises(BrokenPipeError):  # this one was given up
                await asyncio.to_thread(peer.welcome)
            await asyncio.to_thread(peer.welcome)
            await by_hand
            call = handle.rpc("s.m")
            await answer_next(peer)
            assert await call is None

    run(main())
