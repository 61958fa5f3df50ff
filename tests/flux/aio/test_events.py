from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import pytest

import flux.aio
from flux import packet as wire
from flux.aio.unread import UNREAD_MAX
from flux.constants import FLUX_MSGTYPE_EVENT
from tests.flux.aio.conftest import answer_next, connected_to, read_from

if TYPE_CHECKING:
    from tests.flux.aio.conftest import Run
    from tests.flux.conftest import Peer


def test_events_below_the_topic_come_in_their_order(run: Run, broker: str) -> None:
    async def main() -> list[tuple[str, object]]:
        async with flux.aio.Flux(broker) as handle, handle.events("aio.order") as events:
            for n in range(100):
                await handle.event_send(f"aio.order.{n}", {"n": n})
            await handle.event_send("aio.other")
            received = [await anext(events) for _ in range(100)]
            return [(event.topic, event.payload) for event in received]

    assert run(main()) == [(f"aio.order.{n}", {"n": n}) for n in range(100)]


def test_a_plain_loop_subscribes_and_unsubscribes_when_it_is_left(run: Run, peer: Peer) -> None:
    async def first(handle: flux.aio.Flux) -> str:
        async for event in handle.events("e"):
            return event.topic
        raise AssertionError("no event")

    async def main() -> None:
        async with connected_to(peer) as handle:
            task = asyncio.create_task(first(handle))
            asked = await answer_next(peer)
            assert (asked.topic, asked.payload) == ("event.subscribe", b'{"topic": "e"}\0')
            peer.send(wire.event("e.1"))
            assert await task == "e.1"
            assert (await read_from(peer)).topic == "event.unsubscribe"

    run(main())


def test_a_loop_inside_the_block_may_be_left_and_taken_up_again(run: Run, broker: str) -> None:
    async def main() -> list[str]:
        topics = []
        async with flux.aio.Flux(broker) as handle, handle.events("aio.again") as events:
            for n in range(3):
                await handle.event_send(f"aio.again.{n}")
                async for event in events:
                    topics.append(event.topic)
                    break
        return topics

    assert run(main()) == ["aio.again.0", "aio.again.1", "aio.again.2"]


def test_a_published_event_is_there_before_the_answer(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.events("aio.pub") as events:
            sequence = (await handle.event_publish("aio.pub", 0, {"x": 1}))["seq"]
            event = await anext(events)
            assert (event.seq, event.payload) == (sequence, {"x": 1})

    run(main())


def test_each_of_several_subscriptions_gets_its_events(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.events("aio.two") as wide:
            async with handle.events("aio.two.b") as narrow:
                await handle.event_send("aio.two.a")
                await handle.event_send("aio.two.b")
                assert (await anext(narrow)).topic == "aio.two.b"
            await handle.event_send("aio.two.b.c")
            assert [(await anext(wide)).topic for _ in range(3)] == ["aio.two.a", "aio.two.b", "aio.two.b.c"]

    run(main())


def test_recv_gets_the_events_of_event_subscribe_once(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            await handle.event_subscribe("aio.raw")
            await handle.event_subscribe("aio.raw.x")
            for topic in ("aio.raw.x", "aio.raw.y"):
                await handle.event_send(topic)
            assert (await handle.event_recv("aio.raw.y")).topic == "aio.raw.y"
            message = await handle.recv(FLUX_MSGTYPE_EVENT)
            assert message.topic == "aio.raw.x"
            await handle.event_unsubscribe("aio.raw")
            await handle.event_unsubscribe("aio.raw.x")
            with pytest.raises(FileNotFoundError):
                await handle.event_unsubscribe("aio.raw")

    run(main())


def test_a_cancelled_wait_loses_no_event(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.events("aio.wait") as events:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(events), 0.01)
            await handle.event_send("aio.wait")
            assert (await anext(events)).topic == "aio.wait"

    run(main())


def test_a_cancelled_subscription_is_undone(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            opening = asyncio.create_task(handle.events("e").__aenter__())
            await read_from(peer)
            opening.cancel()
            assert (await read_from(peer)).topic == "event.unsubscribe"

    run(main())


def test_too_many_unread_events_are_an_error_after_those_that_were_kept(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            events = handle.events("e")
            opening = asyncio.create_task(events.__aenter__())
            await answer_next(peer)
            await opening
            flood = wire.encode(wire.event("e")) * (UNREAD_MAX + 1)
            await asyncio.to_thread(peer.send_bytes, flood)
            call = handle.rpc("s.m")
            await answer_next(peer, b"1\0")
            assert await call == 1
            for _ in range(UNREAD_MAX):
                await anext(events)
            with pytest.raises(OSError, match="events 'e': too much unread") as raised:
                await anext(events)
            assert raised.value.errno == errno.ENOBUFS
            await events.__aexit__()

    run(main())


def test_a_subscription_cancelled_as_it_succeeds_is_undone(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            before = handle.rpc("s.m")
            subscribing = asyncio.create_task(handle.event_subscribe("mine"))
            before.add_done_callback(lambda _: subscribing.cancel())
            asked = [await read_from(peer), await read_from(peer)]
            peer.send(*(wire.response_to(request) for request in asked))
            with pytest.raises(asyncio.CancelledError):
                await subscribing
            assert (await read_from(peer)).topic == "event.unsubscribe"

    run(main())
