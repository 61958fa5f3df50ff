"""A task's way from submission to its one answer."""

from __future__ import annotations

import pytest

from flamepy.core.types import FlameError, FlameErrorCode, TaskState
from flamepy.protocol import CompletionBatch
from hearth.engine.events import EventCode
from hearth.engine.tasks import IN_FLIGHT_BYTES
from hearth.engine.views import task_info
from tests.hearth.engine.driver import Habits, World, habits, make_spec


def test_tasks_start_in_the_order_of_their_ids() -> None:
    world = World(cpus=3, habits=Habits(task_s=0.03))
    world.session()
    world.submit(50)
    world.run_until(world.is_done)
    started = [task_id for _, task_ids in world.dispatched for task_id in task_ids]
    assert started == list(range(1, 51))


def test_every_result_arrives_once_under_the_clients_own_number() -> None:
    world = World()
    world.session()
    stream = world.stream()
    assert world.engine.tasks.submit("s", [b"a", None, b""], stream.subscription, 70, world.now) == 1
    world.settle()
    world.run_until(world.is_done)
    assert stream.results == dict.fromkeys((70, 71, 72), (TaskState.SUCCEED, b"out", None))


def test_results_go_to_the_stream_that_the_task_was_submitted_with() -> None:
    world = World()
    world.session()
    first, second = world.stream(), world.stream()
    world.submit(2, stream=first)
    world.submit(2, stream=second)
    world.submit(1)
    world.run_until(world.is_done)
    assert sorted(first.results) == [1, 2]
    assert sorted(second.results) == [3, 4]


def test_the_tasks_of_a_client_that_left_are_done_and_its_results_dropped() -> None:
    world = World()
    world.session()
    stream = world.stream()
    world.submit(3, stream=stream)
    world.engine.tasks.unsubscribe("s", stream.subscription)
    world.run_until(world.is_done)
    assert world.engine.state.session("s").succeed == 3
    assert not stream.results
    assert not stream.subscription.results


def test_a_task_answered_twice_keeps_its_first_answer() -> None:
    world = World(habits=Habits(task_s=None))
    session = world.session()
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    world.report(process, CompletionBatch(process.id, done=[(1, b"first", None), (1, b"second", None)]))
    world.settle()
    world.report(process, CompletionBatch(process.id, done=[(1, None, "third")]))
    world.settle()
    assert stream.results == {1: (TaskState.SUCCEED, b"first", None)}
    assert (session.succeed, session.failed) == (1, 0)


def test_an_answer_to_a_task_that_was_given_back_is_ignored() -> None:
    world = World(cpus=1, habits=Habits(task_s=None))
    session = world.session()
    world.submit(1)
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    world.report(process, CompletionBatch(process.id, returned=[1], done=[]))
    world.report(process, CompletionBatch(process.id, done=[(1, b"too late", None), (99, b"never had", None)]))
    world.settle()
    assert world.task(1).state is TaskState.RUNNING
    assert world.task(1).output is None


def test_a_task_that_is_done_and_given_back_in_one_report_is_done() -> None:
    world = World(habits=Habits(task_s=None))
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    world.report(process, CompletionBatch(process.id, done=[(1, b"out", None)], returned=[1, 1]))
    world.settle()
    assert world.task(1).state is TaskState.SUCCEED
    assert not session.pending


def test_a_failed_task_carries_the_services_text() -> None:
    world = World(habits=Habits(error="ValueError: no"))
    session = world.session()
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(world.is_done)
    assert stream.results == {1: (TaskState.FAILED, None, "ValueError: no")}
    codes = {event.code: event.message for event in task_info(session, world.task(1)).events}
    assert codes[3] == "ValueError: no"


def test_an_error_without_a_text_is_a_failure_all_the_same() -> None:
    world = World(habits=Habits(task_s=None))
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    (process,) = world.alive
    world.report(process, CompletionBatch(process.id, done=[(1, None, "")]))
    world.settle()
    assert session.failed == 1
    assert task_info(session, world.task(1)).events[-1].message == "Task failed with state <Failed>"


def test_a_successful_task_has_the_three_ordinary_events_in_order() -> None:
    world = World()
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    info = task_info(session, world.task(1))
    assert [event.code for event in info.events] == [0, 1, 2]
    times = [event.creation_time_ms for event in info.events]
    assert times == sorted(times)
    assert info.completion_time_ms == times[-1]


def stuck_executor(world: World, tasks: int) -> None:
    """Warm an executor up with quick tasks, so that its window is open, then stick it in the first of many."""
    session = world.session(max_instances=1)
    world.next_habits.append(habits(task_s=1e-5))
    world.submit(20)
    world.run_until(world.is_done)
    (process,) = world.alive
    assert next(iter(session.executors.values())).window.size > tasks
    process.habits = habits(task_s=None)
    world.submit(tasks)
    world.run_until(lambda: len(process.waiting) == tasks)


def test_tasks_given_back_are_not_dealt_to_the_executor_that_is_stuck() -> None:
    world = World()
    stuck_executor(world, 10)
    (process,) = world.alive
    returned = world.give_back(process)
    assert returned == list(range(22, 31))
    assert [task.id for task in process.waiting] == [21], "what it gave back came straight back"
    assert len(world.engine.state.session("s").pending) == 9


def test_tasks_given_back_go_to_another_executor_in_order() -> None:
    world = World()
    stuck_executor(world, 10)
    (process,) = world.alive
    world.engine.state.session("s").spec = make_spec(max_instances=2)  # there is a second one from now on
    world.habits = Habits(task_s=0.001)
    world.submit(5)
    world.give_back(process)
    world.run_until(lambda: world.engine.state.session("s").succeed == 34)
    other = world.alive[1]
    assert other.worked == list(range(22, 36))


def test_tasks_given_back_by_two_executors_wait_in_the_order_of_their_ids() -> None:
    """Each one's went to the front of the queue, so the first one's came behind the second's."""
    world = World(cpus=2, habits=Habits(task_s=1e-5))
    session = world.session()
    world.submit(100)
    world.run_until(world.is_done)
    first, second = world.alive
    first.habits = second.habits = Habits(task_s=None)
    world.submit(20)
    held = [[task.id for task in process.waiting] for process in (first, second)]
    assert min(map(len, held)) > 1
    for process in (first, second):  # one batch for both: nothing is dealt in between
        ids = [task.id for task in process.waiting][1:]
        world.report(process, CompletionBatch(process.id, returned=ids[::-1]))
    pending = [task.id for task in session.pending]
    assert pending == sorted(pending)
    world.settle()


def test_a_closed_window_opens_again_when_the_long_task_is_over() -> None:
    world = World()
    stuck_executor(world, 10)
    (process,) = world.alive
    (executor,) = world.engine.state.session("s").executors.values()
    world.give_back(process)
    assert executor.credit == 0
    process.habits = Habits(task_s=1e-5)
    task = process.waiting.popleft()
    world.report(process, CompletionBatch(process.id, done=[(task.id, b"out", None)], busy_s=1.0))
    world.settle()
    world.submit(100)
    world.run_until(world.is_done)
    assert executor.window.size > 50


def test_one_executor_holds_no_more_than_four_mebibytes_of_inputs() -> None:
    world = World(cpus=1)
    stuck_executor(world, 1)
    (process,) = world.alive
    world.submit(10, data=bytes(IN_FLIGHT_BYTES // 4))
    held = sum(len(task.input or b"") for task in process.waiting)
    assert 0 < held <= IN_FLIGHT_BYTES


def test_a_task_larger_than_the_bound_goes_alone() -> None:
    world = World(cpus=1)
    session = world.session()
    stream = world.stream()
    world.submit(3, data=bytes(IN_FLIGHT_BYTES + 1), stream=stream)
    world.run_until(world.is_done)
    assert session.succeed == 3


def test_submitting_to_an_unknown_session_is_not_found() -> None:
    world = World()
    with pytest.raises(FlameError, match="'ghost' not found") as refused:
        world.engine.tasks.submit("ghost", [b""], None, 1, world.now)
    assert refused.value.code is FlameErrorCode.NOT_FOUND


def test_submitting_to_a_closed_session_is_an_invalid_state_and_makes_no_task() -> None:
    world = World()
    session = world.session()
    world.close()
    with pytest.raises(FlameError, match="closed and takes no more tasks") as refused:
        world.engine.tasks.submit("s", [b""], None, 1, world.now)
    assert refused.value.code is FlameErrorCode.INVALID_STATE
    assert not session.tasks


def test_a_refusal_travels_on_the_stream_of_the_client() -> None:
    world = World()
    world.session()
    stream = world.stream()
    world.engine.tasks.refuse(stream.subscription, 5, 3, FlameError(FlameErrorCode.INVALID_STATE, "no"))
    world.settle()
    assert stream.refused == [(5, 3, int(FlameErrorCode.INVALID_STATE), "no")]


@pytest.mark.parametrize("task_id", [0, -1, 2, 10**30])
def test_an_unknown_task_is_not_found(task_id: int) -> None:
    world = World()
    world.session()
    world.submit()
    for ask in (world.engine.tasks.get, lambda s, t: world.engine.tasks.watch(s, t, "w")):
        with pytest.raises(FlameError, match="not found") as refused:
            ask("s", task_id)
        assert refused.value.code is FlameErrorCode.NOT_FOUND


def test_pages_walk_through_all_tasks_in_order() -> None:
    world = World()
    world.session()
    world.submit(25)
    seen: list[int] = []
    while page := world.engine.tasks.page("s", seen[-1] if seen else 0, 10)[1]:
        assert len(page) <= 10
        seen += [task.id for task in page]
    assert seen == list(range(1, 26))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_of_nothing_is_an_invalid_argument(limit: int) -> None:
    world = World()
    world.session()
    with pytest.raises(FlameError, match="want 1 or more") as refused:
        world.engine.tasks.page("s", 0, limit)
    assert refused.value.code is FlameErrorCode.INVALID_ARGUMENT


def test_a_page_beyond_any_number_is_empty() -> None:
    world = World()
    world.session()
    world.submit(3)
    assert world.engine.tasks.page("s", 10**30, 10**30)[1] == []
    assert len(world.engine.tasks.page("s", -(10**30), 10**30)[1]) == 3


def test_a_cancelled_task_tells_when_and_why() -> None:
    world = World(cpus=0)
    session = world.session()
    world.submit(1)
    world.engine.sessions.close(session.id, world.now)
    last = task_info(session, session.tasks[0]).events[-1]
    assert (last.code, last.creation_time_ms) == (EventCode.CANCELLED, round(world.now * 1000))
    assert last.message is not None
    assert "closed" in last.message
    assert min(EventCode.RETURNED, EventCode.CANCELLED) > 15  # those below are the system's
