from __future__ import annotations

import asyncio
import errno
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import flux.aio
from flux.constants import (
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_NODEID_UPSTREAM,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
)
from tests.flux.aio.conftest import answer_next, connected_to, read_from

if TYPE_CHECKING:
    from tests.flux.aio.conftest import Run
    from tests.flux.conftest import Peer


def test_an_answer_is_its_json(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            assert (await handle.rpc("broker.ping", {"seq": 1}))["seq"] == 1

    run(main())


def test_an_answer_without_payload_is_none(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            assert await handle.rpc("event.subscribe", {"topic": "t"}) is None

    run(main())


@pytest.mark.parametrize(
    ("topic", "error", "text"),
    [
        ("no-such.method", OSError, "No service matching no-such.method is registered"),
        ("attr.get", FileNotFoundError, "No such file or directory"),
    ],
)
def test_an_error_is_the_subclass_of_its_errno_with_the_services_text(
    run: Run, broker: str, topic: str, error: type[OSError], text: str
) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            with pytest.raises(error, match=text):
                await handle.rpc(topic, {"name": "test.unset"})

    run(main())


@pytest.mark.parametrize("payload", [b"raw", b"no json\0", b"\0"])
def test_an_answer_that_is_no_json_is_a_protocol_error(run: Run, peer: Peer, payload: bytes) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            call = handle.rpc("s.m")
            await answer_next(peer, payload)
            with pytest.raises(OSError, match=r"JSON|EPROTO") as raised:
                await call
            assert raised.value.errno == errno.EPROTO

    run(main())


def test_an_answer_may_be_text_or_bytes(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            calls = [handle.rpc("s.m", answer="text"), handle.rpc("s.m", answer="raw"), handle.rpc("s.m", answer="raw")]
            for payload in (b"text\0", b"raw", None):
                await answer_next(peer, payload)
            assert await asyncio.gather(*calls) == ["text", b"raw", None]
            with pytest.raises(ValueError, match="want one of json, text, raw"):
                handle.rpc("s.m", answer="yaml")  # type: ignore[arg-type]  # the refusal is the point

    run(main())


def test_thousands_of_requests_may_be_in_flight(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            calls = [handle.rpc("broker.ping", {"seq": n}) for n in range(5000)]
            assert [answer["seq"] for answer in await asyncio.gather(*calls)] == list(range(5000))

    run(main())


def test_all_requests_of_one_turn_arrive_together(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            calls = [handle.rpc("s.m") for _ in range(100)]
            assert peer.has_been_sent_nothing()
            await asyncio.sleep(0)
            assert not peer.has_been_sent_nothing()
            for _ in calls:
                peer.answer(peer.read(), b"1\0")
            assert await asyncio.gather(*calls) == [1] * 100

    run(main())


def test_a_cancelled_call_frees_its_tag_only_after_its_answer(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            free = handle.matchtag_avail()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(handle.rpc("s.slow"), 0.01)
            slow = await read_from(peer)
            call = handle.rpc("s.m")
            asked = await read_from(peer)
            assert asked.aux2 != slow.aux2
            peer.answer(slow, b'"late"\0')
            peer.answer(asked, b'"mine"\0')
            assert await call == "mine"
            assert handle.matchtag_avail() == free

    run(main())


def test_a_cancelled_task_gives_up_its_call_and_nobody_elses(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:

            async def ask() -> object:
                return await handle.rpc("s.m")

            tasks = [asyncio.create_task(ask()) for _ in range(3)]
            asked = [await read_from(peer) for _ in tasks]
            tasks[1].cancel()
            for request in asked:
                peer.answer(request, b"1\0")
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [results[0], results[2]] == [1, 1]
            assert isinstance(results[1], asyncio.CancelledError)

    run(main())


def test_a_request_without_response_is_done_at_once(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            free = handle.matchtag_avail()
            assert await handle.rpc("s.m", flags=FLUX_RPC_NORESPONSE) is None
            asked = await read_from(peer)
            assert (asked.topic, asked.aux2) == ("s.m", 0)
            assert handle.matchtag_avail() == free

    run(main())


def test_a_wrong_request_is_refused_at_once(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            with pytest.raises(OSError, match="stream"):
                handle.rpc("s.m", flags=FLUX_RPC_STREAMING)
            with pytest.raises(OverflowError):
                handle.rpc("s.m", nodeid=-1)
            with pytest.raises(TypeError):
                handle.rpc("s.m", object())
            with pytest.raises(OSError, match="Topic must not be None"):
                handle.rpc(None)  # type: ignore[arg-type]  # the refusal is the point

    run(main())


def test_upstream_names_the_own_rank(run: Run, peer: Peer) -> None:
    async def main() -> None:
        async with connected_to(peer) as handle:
            with pytest.raises(OSError, match="await get_rank"):
                handle.rpc("s.m", nodeid=FLUX_NODEID_UPSTREAM)
            rank = asyncio.create_task(handle.get_rank())
            await answer_next(peer, b'{"value": "3", "flags": 1}\0')
            assert await rank == await handle.get_rank() == 3
            handle.rpc("s.m", nodeid=FLUX_NODEID_UPSTREAM)
            asked = await read_from(peer)
            assert (asked.aux1, asked.flags & FLUX_MSGFLAG_UPSTREAM) == (3, FLUX_MSGFLAG_UPSTREAM)

    run(main())


def test_attributes_and_the_log_are_there(run: Run, broker: str) -> None:
    async def main() -> None:
        async with flux.aio.Flux(broker) as handle:
            await handle.attr_set("test.aio", "x")
            assert await handle.attr_get("test.aio") == "x"
            await handle.attr_remove("test.aio")
            with pytest.raises(FileNotFoundError):
                await handle.attr_get("test.aio")
            await handle.log(6, "one\ntwo %s")
            records = [text async for text in handle.stream("log.dmesg", {"follow": False}, answer="text")]
            assert records[-1].endswith(" - - two %s")

    run(main())


def test_an_interrupt_ends_the_program_and_its_connection(broker: str) -> None:
    program = (
        "import asyncio, flux.aio, sys\n"
        "async def main():\n"
        "    async with flux.aio.Flux(sys.argv[1]) as h, h.events('none') as events:\n"
        "        print('ready', flush=True)\n"
        "        await anext(events)\n"
        "try:\n    asyncio.run(main())\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, broker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("interrupted\n", "")
