from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from typing import TYPE_CHECKING, Any

import pytest

import flux
import flux.aio
from flux import packet as wire
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING, FLUX_ROLE_OWNER, FLUX_ROLE_USER
from tests.flux.aio.conftest import answer_next, connected_to, read_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flux.packet import Packet
    from tests.flux.aio.conftest import Run
    from tests.flux.conftest import Peer


@contextlib.asynccontextmanager
async def opened(service: flux.aio.Service, peer: Peer) -> AsyncIterator[None]:
    """The service, registered at the peer."""
    opening = asyncio.create_task(service.__aenter__())
    assert (await answer_next(peer)).topic == "service.add"
    await opening
    yield
    await service.__aexit__()


def request(topic: str, tag: int = 1, payload: bytes | None = None, flags: int = 0, sender: str = "someone") -> Packet:
    packet = wire.request(topic, payload, matchtag=tag, flags=flags)
    packet.routes, packet.userid, packet.rolemask = [sender], 7, FLUX_ROLE_OWNER
    return packet


async def double(request: flux.aio.Request) -> Any:
    await asyncio.sleep(0)
    return 2 * request.payload


class Doubler:
    async def __call__(self, request: flux.aio.Request) -> Any:
        return 2 * request.payload


@pytest.mark.parametrize("method", [lambda request: 2 * request.payload, double, Doubler()])
def test_what_a_method_returns_is_the_answer(run: Run, broker: str, method: Any) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-double") as service:
            service.method("it")(method)
            assert await asyncio.gather(*[handle.rpc("aio-double.it", n) for n in range(100)]) == list(range(0, 200, 2))

    run(main())


def test_a_generator_answers_a_streaming_request(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-count") as service:

            @service.method("up")
            async def up(request: flux.aio.Request) -> AsyncIterator[int]:
                for n in range(request.payload):
                    yield n

            assert [n async for n in handle.stream("aio-count.up", 500)] == list(range(500))
            with pytest.raises(OSError, match="answered by a stream"):
                await handle.rpc("aio-count.up", 1)

    run(main())


def test_a_single_result_answers_a_streaming_request_and_ends_it(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-one") as service:
            service.method("one")(lambda request: 1)
            service.method("none")(lambda request: None)
            assert [n async for n in handle.stream("aio-one.one")] == [1]
            assert [n async for n in handle.stream("aio-one.none")] == []

    run(main())


def fail_plainly(request: flux.aio.Request) -> None:
    raise FileNotFoundError(errno.ENOENT, "no such thing")


async def fail_later(request: flux.aio.Request) -> None:
    await asyncio.sleep(0)
    raise FileNotFoundError(errno.ENOENT, "no such thing")


@pytest.mark.parametrize("method", [fail_plainly, fail_later])
def test_an_oserror_is_answered_with_its_errno_and_text(run: Run, broker: str, method: Any) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-fail") as service:
            service.method("it")(method)
            with pytest.raises(FileNotFoundError, match="no such thing"):
                await handle.rpc("aio-fail.it")

    run(main())


def test_any_other_exception_is_answered_with_eio_and_logged(
    run: Run, broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-bug") as service:
            service.method("it")(lambda request: 1 / 0)
            service.method("set")(lambda request: {1})
            with pytest.raises(OSError, match="ZeroDivisionError: division by zero") as raised:
                await handle.rpc("aio-bug.it")
            assert raised.value.errno == errno.EIO
            with pytest.raises(OSError, match=r"TypeError: .*set is not JSON"):
                await handle.rpc("aio-bug.set")

    with caplog.at_level(logging.ERROR, "flux.aio"):
        run(main())
    assert [record.getMessage() for record in caplog.records] == ["aio-bug.it failed", "aio-bug.set failed"]


def test_a_payload_that_is_no_json_is_answered_with_eproto(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-json") as service:
            service.method("it")(lambda request: request.payload)
            with pytest.raises(OSError, match="the payload is no JSON") as raised:
                await handle.rpc("aio-json.it", "{")
            assert raised.value.errno == errno.EPROTO

    run(main())


def test_an_unknown_method_and_an_ended_service_are_enosys(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            async with handle.service("aio-gone"):
                with pytest.raises(OSError, match=r"Unknown service method 'aio-gone\.x'"):
                    await handle.rpc("aio-gone.x")
            with pytest.raises(OSError, match=r"No service matching aio-gone\.x"):
                await handle.rpc("aio-gone.x")
            async with handle.service("aio-gone"):
                pass

    run(main())


def test_a_name_that_is_taken_is_refused(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, flux.aio.Flux(broker) as other, handle.service("aio-taken"):
            for rival in (handle, other):
                with pytest.raises(FileExistsError):
                    await rival.service("aio-taken").__aenter__()
            with pytest.raises(OSError, match="Invalid argument"):
                await handle.service("a.b").__aenter__()

    run(main())


def test_callers_without_the_role_are_refused(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            service = handle.service("s")
            service.method("owners")(lambda request: "in")
            service.method("users", rolemask=FLUX_ROLE_USER)(lambda request: "in")
            async with opened(service, peer):
                for topic, rolemask, answer in [
                    ("s.owners", FLUX_ROLE_USER, (errno.EPERM, b"Request requires owner credentials\0")),
                    ("s.owners", FLUX_ROLE_OWNER, (0, b"in\0")),
                    ("s.users", 0, (errno.EPERM, b"Request rejected due to insufficient privilege\0")),
                    ("s.users", FLUX_ROLE_USER, (0, b"in\0")),
                    ("s.users", FLUX_ROLE_OWNER, (0, b"in\0")),
                ]:
                    asking = request(topic)
                    asking.rolemask = rolemask
                    peer.send(asking)
                    response = await read_from(peer)
                    assert (response.aux1, response.payload) == answer

    run(main())


class Waiter:
    """A method that waits until it is cancelled."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[int] = asyncio.Queue()
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()

    async def __call__(self, request: flux.aio.Request) -> None:
        self.started.put_nowait(request.packet.aux2)
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.put_nowait(request.packet.aux2)


def test_a_sender_that_leaves_has_its_requests_cancelled_and_no_others(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            wait = Waiter()
            service = handle.service("s")
            service.method("wait")(wait)
            service.method("ping")(lambda request: None)
            async with opened(service, peer):
                peer.send(request("s.wait", 1), request("s.wait", 2, sender="other"), request("s.wait", 3))
                assert [await wait.started.get() for _ in range(3)] == [1, 2, 3]
                peer.send(request("s.disconnect", 1, flags=FLUX_MSGFLAG_NORESPONSE))
                assert sorted([await wait.cancelled.get(), await wait.cancelled.get()]) == [1, 3]
                peer.send(request("s.ping", 4))
                while (await read_from(peer)).aux2 != 4:
                    pass
                assert wait.cancelled.empty()

    run(main())


@pytest.mark.parametrize("topic", ["s.cancel", "s.wait-cancel"])
def test_a_stream_is_cancelled_by_its_matchtag(run: Run, peer: Peer, topic: str) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            wait = Waiter()
            service = handle.service("s")
            service.method("wait")(wait)
            async with opened(service, peer):
                for sender in ("someone", "other"):
                    peer.send(request("s.wait", 5, flags=FLUX_MSGFLAG_STREAMING, sender=sender))
                    await wait.started.get()
                for payload in (b'{"matchtag": 6}\0', b'{"matchtag": 5}\0'):
                    peer.send(request(topic, 0, payload, FLUX_MSGFLAG_NORESPONSE))
                response = await read_from(peer)
                assert (response.aux1, response.aux2, response.routes) == (errno.ENODATA, 5, ["someone"])
                await wait.cancelled.get()
                assert wait.cancelled.empty()
                peer.send(request(topic, 9, b"{}\0"))
                assert (await read_from(peer)).aux1 == errno.EPROTO

    run(main())


def test_leaving_a_stream_early_stops_its_method(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-ever") as service:
            stopped = asyncio.Event()

            @service.method("more")
            async def more(request: flux.aio.Request) -> AsyncIterator[int]:
                try:
                    while True:
                        yield 1
                        await asyncio.sleep(0)
                finally:
                    stopped.set()

            async for _ in handle.stream("aio-ever.more"):
                break
            await stopped.wait()

    run(main())


def test_at_the_end_of_the_block_running_methods_are_cancelled_and_answered(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            wait = Waiter()
            async with handle.service("aio-end") as service:
                service.method("wait")(wait)
                call = handle.rpc("aio-end.wait")
                await wait.started.get()
            with pytest.raises(OSError, match="service aio-end has ended") as raised:
                await call
            assert raised.value.errno == errno.ECANCELED
            await wait.cancelled.get()

    run(main())


def test_requests_beyond_the_bound_are_to_be_asked_again(
    run: Run, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux.aio.services.UNANSWERED_MAX", 2)

    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-full") as service:
            may_end = asyncio.Event()

            @service.method("wait")
            async def wait(request: flux.aio.Request) -> None:
                await may_end.wait()

            calls = [handle.rpc("aio-full.wait") for _ in range(3)]
            with pytest.raises(BlockingIOError, match="2 requests to answer"):
                await calls[2]
            may_end.set()
            await asyncio.gather(*calls[:2])
            await handle.rpc("aio-full.wait")

    run(main())


def test_timeouts_and_calls_work_inside_a_method(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-inner") as service:

            @service.method("ask")
            async def ask(request: flux.aio.Request) -> Any:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.Event().wait(), 0.001)
                return (await asyncio.wait_for(handle.rpc("broker.ping", {"seq": 3}), 10))["seq"]

            assert await handle.rpc("aio-inner.ask") == 3

    run(main())


def test_a_service_waits_for_ever_until_the_connection_is_lost(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            service = handle.service("s")
            with pytest.raises(OSError, match="is not open"):
                await service.serve_forever()
            async with opened(service, peer):
                serving = asyncio.create_task(service.serve_forever())
                peer.hang_up()
                with pytest.raises(ConnectionResetError):
                    await serving

    run(main())


def test_requests_without_a_service_object_come_to_recv(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            await handle.service_register("aio-raw")
            calls = [handle.rpc("aio-raw.good", 1), handle.rpc("aio-raw.bad")]
            await handle.respond(await handle.recv(topic_glob="*.good"), {"x": 1})
            await handle.respond_error(await handle.recv(), errno.ENOENT, "none")
            assert await calls[0] == {"x": 1}
            with pytest.raises(FileNotFoundError, match="none"):
                await calls[1]
            await handle.service_unregister("aio-raw")
            with pytest.raises(FileNotFoundError):
                await handle.service_unregister("aio-raw")

    run(main())


def test_a_program_of_the_other_handle_is_served(run: Run, broker: str) -> None:
    def ask() -> Any:
        with flux.Flux(broker) as handle:
            return handle.rpc("aio-both.it", 4).get()

    async def main() -> None:
        async with flux.aio.Flux(broker) as handle, handle.service("aio-both") as service:
            service.method("it")(double)
            assert await asyncio.to_thread(ask) == 8

    run(main())


def test_a_registration_cancelled_as_it_succeeds_is_undone(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            before = handle.rpc("s.m")
            registering = asyncio.create_task(handle.service_register("mine"))
            before.add_done_callback(lambda _: registering.cancel())
            asked = [await read_from(peer), await read_from(peer)]
            peer.send(*(wire.response_to(request) for request in asked))
            with pytest.raises(asyncio.CancelledError):
                await registering
            assert (await read_from(peer)).topic == "service.remove"

    run(main())
