"""`Session.map` on asyncio: what the other one promises, and inputs that come asynchronously."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, cast

import pytest

import flamepy
from flamepy import FlameErrorCode
from tests.conftest import act, expect_refusal
from tests.flamepy.aio.conftest import on_asyncio, turn_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from flamepy import aio
    from tests.conftest import Gate, NewSession
    from tests.flamepy.aio.conftest import Run


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def streamed(inputs: list[bytes]) -> AsyncIterator[bytes]:
    for data in inputs:
        await asyncio.sleep(0)
        yield data


async def status(session: aio.Session) -> aio.Session:
    return await session.connection.get_session(session.id)


# -- order


def test_outputs_come_in_the_order_of_the_inputs(run: Run, new_session: NewSession) -> None:
    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            assert [output async for output in session.map(numbers(5000))] == numbers(5000)
            assert [output async for output in session.map(streamed(numbers(2000)))] == numbers(2000)

    run(main())


def test_as_completed_each_output_has_the_index_of_its_input(run: Run, new_session: NewSession) -> None:
    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            for inputs in (numbers(2000), streamed(numbers(2000))):
                outputs = [pair async for pair in session.map(inputs, ordered=False)]
                assert sorted(outputs) == [(number, b"%d" % number) for number in range(2000)]

    run(main())


def test_an_output_waits_for_those_before_it(run: Run, new_session: NewSession, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            outputs = session.map([gate.task, b"1", b"2"])
            first = asyncio.ensure_future(anext(outputs))
            await asyncio.to_thread(gate.wait_until_reached)
            assert await session.invoke(b"others go on") == b"others go on"
            assert not first.done()
            gate.open()
            assert await first == b"through"
            assert [output async for output in outputs] == [b"1", b"2"]

    run(main())


def test_as_completed_a_slow_task_holds_up_no_other(run: Run, new_session: NewSession, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            outputs = session.map([gate.task, *numbers(20)], ordered=False)
            quick = [await anext(outputs) for _ in range(20)]
            assert sorted(quick) == [(number + 1, b"%d" % number) for number in range(20)]
            gate.open()
            assert [pair async for pair in outputs] == [(0, b"through")]

    run(main())


def test_no_inputs_give_no_outputs(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            assert [output async for output in here.map([])] == []
            assert [output async for output in here.map(streamed([]), ordered=False)] == []

    run(main())


# -- how much is out


def test_nothing_is_submitted_before_the_first_step_and_no_more_than_in_flight(
    run: Run, session: flamepy.Session, gate: Gate
) -> None:
    taken: list[bytes] = []

    def inputs() -> Iterator[bytes]:
        for data in itertools.chain([gate.task], itertools.repeat(b"x")):
            taken.append(data)
            yield data

    async def main() -> None:
        async with on_asyncio(session) as here:
            outputs = here.map(inputs(), in_flight=5)
            assert (await status(here)).pending == 0
            first = asyncio.ensure_future(anext(outputs))
            await asyncio.to_thread(gate.wait_until_reached)
            now = await status(here)
            assert (now.running, now.pending, len(taken)) == (1, 4, 5)
            gate.open()
            assert await first == b"through"
            for handed_out in range(2, 30):
                await anext(outputs)
                assert len(taken) - handed_out < 5
            await outputs.aclose()

    run(main())


def test_outputs_are_handed_out_while_the_next_input_is_waited_for(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        asked = asyncio.Event()
        goes_on = asyncio.Event()

        async def inputs() -> AsyncIterator[bytes]:
            yield b"0"
            yield b"1"
            asked.set()
            await goes_on.wait()
            yield b"2"

        async with on_asyncio(session) as here:
            outputs = here.map(inputs())
            assert [await anext(outputs), await anext(outputs)] == [b"0", b"1"]
            await asked.wait()
            goes_on.set()
            assert [output async for output in outputs] == [b"2"]

    run(main())


def test_a_full_window_asks_a_stream_for_no_more(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        asked = 0

        async def inputs() -> AsyncIterator[bytes]:
            nonlocal asked
            yield gate.task
            while True:
                asked += 1
                yield b"x"

        async with on_asyncio(session) as here:
            outputs = here.map(inputs(), in_flight=3)
            first = asyncio.ensure_future(anext(outputs))
            await asyncio.to_thread(gate.wait_until_reached)
            assert asked == 3  # two are out beside the gate, one is at hand
            gate.open()
            await first
            await outputs.aclose()

    run(main())


@pytest.mark.parametrize("in_flight", [0, -1])
def test_in_flight_below_one_is_refused_at_once(run: Run, session: flamepy.Session, in_flight: int) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            with pytest.raises(ValueError, match="want 1 or more"):
                here.map([], in_flight=in_flight)
            with pytest.raises(TypeError, match="not iterable"):
                here.map(cast("list[bytes]", 7))

    run(main())


# -- failures


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failed_task_raises_and_cancels_what_is_out(
    run: Run, session: flamepy.Session, gate: Gate, ordered: bool
) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            inputs = [b"0", act("fail", "one"), gate.task, gate.task]
            outputs = here.map(inputs) if ordered else here.map(inputs, ordered=False)
            assert await anext(outputs) in (b"0", (0, b"0"))
            with expect_refusal(FlameErrorCode.INTERNAL, "ValueError: one"):
                await anext(outputs)
            assert [output async for output in outputs] == []
            gate.open()
            assert await here.invoke(b"next") == b"next"

    run(main())


def test_errors_can_be_handed_out_like_outputs(run: Run, session: flamepy.Session) -> None:
    inputs = [b"0", act("fail", "one"), cast("bytes", "text"), b"3"]

    async def main() -> None:
        async with on_asyncio(session) as here:
            first, failed, refused, last = [output async for output in here.map(inputs, return_exceptions=True)]
            assert (first, last) == (b"0", b"3")
            assert isinstance(failed, flamepy.FlameError)
            assert "ValueError: one" in failed.message
            assert isinstance(refused, flamepy.FlameError)
            assert refused.code is FlameErrorCode.INVALID_ARGUMENT
            pairs = {index: one async for index, one in here.map(inputs, ordered=False, return_exceptions=True)}
            assert (pairs[0], pairs[3]) == (b"0", b"3")
            assert isinstance(pairs[1], flamepy.FlameError)
            assert isinstance(pairs[2], flamepy.FlameError)

    run(main())


def test_an_input_that_is_no_bytes_is_refused_in_its_place(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            outputs = here.map([b"0", cast("bytes", None), b"2"])
            assert await anext(outputs) == b"0"
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "must be bytes"):
                await anext(outputs)

    run(main())


def test_a_closed_session_refuses_with_the_first_step(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            await here.close()
            with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
                await anext(here.map(numbers(3)))

    run(main())


def test_what_the_inputs_raise_comes_out(run: Run, session: flamepy.Session, gate: Gate) -> None:
    def inputs() -> Iterator[bytes]:
        yield gate.task
        raise OSError("no more rows")

    async def stream() -> AsyncIterator[bytes]:
        for data in inputs():
            yield data

    async def main() -> None:
        async with on_asyncio(session) as here:
            for source in (inputs(), stream()):
                with pytest.raises(OSError, match="no more rows"):
                    await anext(here.map(source))
            gate.open()

    run(main())


# -- an early end


def test_endless_inputs_end_with_a_break(run: Run, new_session: NewSession) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for number in itertools.count():
            yield b"%d" % number

    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            for inputs in ((b"%d" % number for number in itertools.count()), endless()):
                outputs: list[bytes | None] = []
                async for output in session.map(inputs, in_flight=10):
                    outputs.append(output)
                    if len(outputs) == 100:
                        break
                assert outputs == numbers(100)
            assert await session.invoke(b"next") == b"next"

    run(main())


def test_what_is_out_when_the_iteration_ends_is_cancelled_where_it_runs(
    run: Run, session: flamepy.Session, gate: Gate
) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            outputs = here.map(itertools.chain([b"0"], itertools.repeat(gate.task)), in_flight=5)
            assert await anext(outputs) == b"0"
            await outputs.aclose()
            states = [task.state async for task in here.list_tasks()]
            assert len(states) > 1
            assert set(states[1:]) == {flamepy.TaskState.CANCELLED}

    run(main())


def test_the_tasks_have_the_options_given(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            with expect_refusal(FlameErrorCode.INTERNAL):
                await anext(here.map([gate.task], timeout=0.05))
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT):
                here.map([], max_retries=-1)

    run(main())


@pytest.mark.parametrize("waits_for", ["an output", "an input"])
def test_a_consumer_that_is_cancelled_ends_the_iteration(
    run: Run, session: flamepy.Session, gate: Gate, waits_for: str
) -> None:
    async def main() -> None:
        is_asked, is_cancelled = asyncio.Event(), asyncio.Event()

        async def inputs() -> AsyncIterator[bytes]:
            yield gate.task
            is_asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                is_cancelled.set()
                raise

        async with on_asyncio(session) as here:
            outputs = here.map(inputs()) if waits_for == "an input" else here.map([gate.task] * 3)
            consuming = asyncio.ensure_future(anext(outputs))
            await asyncio.to_thread(gate.wait_until_reached)
            if waits_for == "an input":
                await is_asked.wait()
            consuming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consuming
            assert [output async for output in outputs] == []
            if waits_for == "an input":
                await is_cancelled.wait()
            gate.open()
            assert await here.invoke(b"next") == b"next"

    run(main())


# -- progress


def test_progress_is_told_while_a_task_is_waited_for_and_in_the_end(
    run: Run, new_session: NewSession, gate: Gate
) -> None:
    async def main() -> None:
        told: list[tuple[int, int]] = []

        def progress(done: int, submitted: int) -> None:
            told.append((done, submitted))

        async with on_asyncio(new_session(instances=2)) as session:
            mapped = session.map([*numbers(10), gate.task, b"last"], progress=progress)

            async def consume() -> list[bytes | None]:
                return [output async for output in mapped]

            consuming = asyncio.ensure_future(consume())
            await asyncio.to_thread(gate.wait_until_reached)
            await turn_until(lambda: told[-1] == (10, 12))
            gate.open()
            assert await consuming == [*numbers(10), b"through", b"last"]
            assert told[-1] == (12, 12)
            assert told == sorted(set(told))

    run(main())


def test_what_progress_raises_comes_out(run: Run, session: flamepy.Session, gate: Gate) -> None:
    def progress(done: int, submitted: int) -> None:
        raise KeyError(submitted)

    async def main() -> None:
        async with on_asyncio(session) as here:
            with pytest.raises(KeyError):
                await anext(here.map([gate.task] * 3, progress=progress))
            gate.open()

    run(main())


def test_several_maps_run_side_by_side(run: Run, new_session: NewSession) -> None:
    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:

            async def use(name: int) -> bool:
                inputs = [b"%d %d" % (name, number) for number in range(300)]
                return [output async for output in session.map(inputs, in_flight=20)] == inputs

            assert all(await asyncio.gather(*map(use, range(5))))

    run(main())
