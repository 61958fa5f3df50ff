"""`run`, `invoke` and their futures on asyncio."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

import flamepy
from flamepy import FlameErrorCode
from tests.conftest import DEADLINE_S, act, expect_refusal, wait_until
from tests.flamepy.aio.conftest import on_asyncio

if TYPE_CHECKING:
    from tests.conftest import Gate, NewSession
    from tests.flamepy.aio.conftest import Run

MEBIBYTE = 1 << 20


def test_each_of_five_thousand_futures_has_its_own_result(run: Run, new_session: NewSession) -> None:
    inputs = [b"%d" % number for number in range(5000)]

    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            assert await asyncio.gather(*map(session.run, inputs)) == inputs
            assert (await session.connection.get_session(session.id)).succeed == 5000

    run(main())


def test_invokes_run_side_by_side(run: Run, new_session: NewSession) -> None:
    inputs = [b"%d" % number for number in range(500)]

    async def main() -> None:
        async with on_asyncio(new_session(instances=2)) as session:
            assert await session.invoke(b"alone") == b"alone"
            assert await asyncio.gather(*map(session.invoke, inputs)) == inputs

    run(main())


def test_run_gives_a_real_asyncio_future(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            future = here.run(b"x")
            assert isinstance(future, asyncio.Future)
            done, pending = await asyncio.wait([future], timeout=DEADLINE_S)
            assert (done, pending) == ({future}, set())
            called: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            here.run(b"y").add_done_callback(lambda one: called.set_result(one.result()))
            assert await called == b"y"

    run(main())


@pytest.mark.parametrize("size", [0, 1, 70_000, 8 * MEBIBYTE])
def test_large_data_goes_in_and_out_unchanged(run: Run, session: flamepy.Session, size: int) -> None:
    data = bytes(number % 251 for number in range(min(size, 1000))) * (size // 1000 or 1)

    async def main() -> None:
        async with on_asyncio(session) as here:
            assert await here.invoke(data) == data
            assert await asyncio.gather(*(here.run(data) for _ in range(5))) == [data] * 5

    run(main())


def test_what_is_submitted_goes_before_what_is_asked_later(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            futures = [here.run(b"x") for _ in range(100)]
            now = await here.connection.get_session(here.id)
            assert now.pending + now.running + now.succeed == 100
            await asyncio.gather(*futures)

    run(main())


def test_drain_waits_until_the_instance_has_taken_what_was_submitted(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            futures = [here.run(bytes(MEBIBYTE)) for _ in range(30)]
            await here.connection.drain()
            assert await asyncio.gather(*futures) == [bytes(MEBIBYTE)] * 30

    run(main())


def test_no_output_is_none(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            assert await here.invoke(act("return", None)) is None
            assert await here.invoke(act("return", "")) == b""

    run(main())


# -- failures


def test_a_failed_task_raises_with_the_service_s_text(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            for attempt in (here.invoke(act("fail", "on purpose")), here.run(act("fail", "on purpose"))):
                with expect_refusal(FlameErrorCode.INTERNAL, "ValueError: on purpose"):
                    await attempt
            assert await here.invoke(b"next") == b"next"

    run(main())


@pytest.mark.parametrize("wrong", ["text", None, 7])
def test_input_must_be_bytes(run: Run, session: flamepy.Session, wrong: object) -> None:
    data = cast("bytes", wrong)

    async def main() -> None:
        async with on_asyncio(session) as here:
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "must be bytes", type(wrong).__name__):
                here.run(data)
            for use in (here.invoke, here.create_task):
                with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "must be bytes"):
                    await use(data)

    run(main())


def test_a_session_that_was_closed_takes_no_tasks(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            assert await here.invoke(b"x") == b"x"
            await here.close()
            with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
                here.run(b"x")

    run(main())


def test_a_session_that_somebody_else_closed_takes_no_tasks(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            session.close()
            with expect_refusal(FlameErrorCode.INVALID_STATE, "closed"):
                await here.invoke(b"x")

    run(main())


def test_tasks_that_wait_when_the_session_is_closed_are_cancelled(run: Run, new_session: NewSession) -> None:
    impossible = flamepy.ResourceRequirement(cpu=1, memory=1 << 60)

    async def main() -> None:
        connection = new_session().connection
        made = connection.create_session(flamepy.SessionAttributes("actor", resreq=impossible))
        async with on_asyncio(made) as here:
            futures = [here.run(b"x") for _ in range(3)]
            await here.close()
            for future in futures:
                with expect_refusal(FlameErrorCode.INVALID_STATE):
                    await asyncio.wait_for(future, DEADLINE_S)

    run(main())


# -- giving up


def test_cancelling_a_future_cancels_its_task_and_no_other(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            first, second, third = (here.run(data) for data in (gate.task, b"2", b"3"))
            await asyncio.to_thread(gate.wait_until_reached)
            assert second.cancel()
            assert not second.cancel()
            assert (await here.get_task("2")).state is flamepy.TaskState.CANCELLED
            gate.open()
            assert (await first, await third) == (b"through", b"3")
            with pytest.raises(asyncio.CancelledError):
                await second

    run(main())


def test_a_task_that_runs_is_cancelled_too(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            running = here.run(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            running.cancel()
            assert (await here.get_task("1")).state is flamepy.TaskState.CANCELLED
            assert await here.invoke(b"next") == b"next"

    run(main())


def test_a_task_is_cancelled_by_its_id(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            running = here.run(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            assert await here.cancel_task("1")
            assert not await here.cancel_task("1")
            with expect_refusal(FlameErrorCode.INVALID_STATE):
                await running

    run(main())


def test_each_task_may_have_options_of_its_own(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            with expect_refusal(FlameErrorCode.INTERNAL):
                await here.run(gate.task, timeout=0.05)
            assert await here.invoke(b"x", timeout=30, max_retries=2) == b"x"
            task = await here.create_task(gate.task, timeout=0.05)
            assert [one.state async for one in here.watch_task(task.id, DEADLINE_S)][-1] is flamepy.TaskState.FAILED
            for wrong in ({"timeout": 0.0}, {"max_retries": -1}):
                with expect_refusal(FlameErrorCode.INVALID_ARGUMENT):
                    here.run(b"x", **cast("Any", wrong))

    run(main())


def test_a_future_cancelled_in_the_turn_that_made_it_costs_the_others_nothing(
    run: Run, session: flamepy.Session
) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            futures = [here.run(b"%d" % number) for number in range(100)]
            for future in futures[::2]:
                future.cancel()
            assert await asyncio.gather(*futures[1::2]) == [b"%d" % number for number in range(1, 100, 2)]

    run(main())


def test_a_time_limit_ends_the_waiting(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(here.invoke(gate.task), 0.05)
            gate.open()
            assert await here.invoke(b"next") == b"next"

    run(main())
    wait_until(lambda: session.get_task("2").is_completed(), "the task behind it is done")


def test_a_cancelled_task_of_asyncio_takes_its_invoke_with_it(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            invoking = asyncio.ensure_future(here.invoke(gate.task))
            await asyncio.to_thread(gate.wait_until_reached)
            invoking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await invoking
            gate.open()
            assert await here.invoke(b"next") == b"next"

    run(main())


# -- tasks


def test_a_created_task_is_followed_to_its_end(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            task = await here.create_task(gate.task)
            assert (task.id, task.session_id, task.state) == ("1", here.id, flamepy.TaskState.PENDING)
            watcher = here.watch_task(task.id, DEADLINE_S)
            await asyncio.to_thread(gate.wait_until_reached)
            seen: list[flamepy.Task] = []
            async for state in watcher:
                seen.append(state)
                gate.open()
            assert [state.state for state in seen] == [flamepy.TaskState.RUNNING, flamepy.TaskState.SUCCEED]
            assert seen[-1].output == (await here.get_task("1")).output == b"through"
            assert [state.state async for state in here.watch_task("1")] == [flamepy.TaskState.SUCCEED]

    run(main())


def test_a_watch_ends_with_its_time(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            task = await here.create_task(gate.task)
            await asyncio.to_thread(gate.wait_until_reached)
            watcher = here.watch_task(task.id, timeout=0.05)
            assert (await anext(watcher)).state is flamepy.TaskState.RUNNING
            with pytest.raises(TimeoutError, match=r"task 1 of session '.*' has not ended within 0.05 s"):
                await anext(watcher)
            gate.open()

    run(main())


def test_a_watch_that_is_left_disturbs_no_other(run: Run, session: flamepy.Session, gate: Gate) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            task = await here.create_task(gate.task)
            async for _ in here.watch_task(task.id):
                break
            gate.open()
            for _ in range(100):
                states = [state.state async for state in here.watch_task(task.id)]
                assert states[-1] is flamepy.TaskState.SUCCEED

    run(main())


def test_unknown_tasks_are_not_found(run: Run, session: flamepy.Session) -> None:
    async def main() -> None:
        async with on_asyncio(session) as here:
            for attempt in (here.get_task("7"), anext(here.watch_task("7"))):
                with expect_refusal(FlameErrorCode.NOT_FOUND):
                    await attempt
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "is not a number"):
                await here.get_task("seven")
            with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "is not a number"):
                here.watch_task("seven")

    run(main())


def test_tasks_are_listed_in_order_page_by_page(run: Run, session: flamepy.Session) -> None:
    async def main() -> list[str]:
        async with on_asyncio(session) as here:
            assert [task async for task in here.list_tasks()] == []
            await asyncio.gather(*(here.run(b"x") for _ in range(1100)))
            return [task.id async for task in here.list_tasks()]

    assert run(main()) == [str(number) for number in range(1, 1101)]


def test_common_data_and_attributes_are_there(run: Run, new_session: NewSession) -> None:
    async def main() -> dict[str, Any]:
        async with on_asyncio(new_session(b"common")) as here:
            assert here.common_data() == b"common"
            report: dict[str, Any] = json.loads(await here.invoke(act("report")) or b"")
            return report

    assert run(main())["common_data"] == "common"
