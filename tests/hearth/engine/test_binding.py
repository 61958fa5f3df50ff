"""From a launch to a bound executor, and what happens when it does not come to that."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flamepy.core.types import FlameError, FlameErrorCode, TaskState
from flamepy.protocol import CompletionBatch
from hearth.engine.lifecycle import ExecutorState
from hearth.engine.state import Limits
from hearth.engine.views import session_info
from tests.hearth.engine.driver import Habits, World

FAILING = Habits(enter_failure="ValueError: no model")


def test_an_executor_goes_the_whole_way_and_leaves() -> None:
    world = World()
    session = world.session()
    world.submit()
    (executor,) = session.executors.values()
    assert executor.state.name == "VOID"
    world.run_until(lambda: executor.state is ExecutorState.BINDING)
    world.run_until(lambda: executor.state is ExecutorState.BOUND)
    world.run_until(world.is_done)
    world.close()
    assert executor.state.name == "UNBINDING"
    world.run_until(lambda: executor.state is ExecutorState.RELEASED)
    assert world.engine.state.free == world.engine.state.capacity


def test_nobody_waits_for_an_unknown_executor() -> None:
    world = World()
    with pytest.raises(FlameError, match="'ghost'") as refused:
        world.engine.executors.attached("ghost", world.now)
    assert refused.value.code is FlameErrorCode.NOT_FOUND


def test_an_executor_attaches_once() -> None:
    world = World()
    world.session(min_instances=1)
    world.run(1.0)
    (process,) = world.alive
    with pytest.raises(FlameError, match="not waited for") as refused:
        world.engine.executors.attached(process.id, world.now)
    assert refused.value.code is FlameErrorCode.INVALID_STATE


def test_five_failed_binds_give_up_and_fail_what_waits() -> None:
    world = World(cpus=1, habits=FAILING)
    session = world.session()
    stream = world.stream()
    world.submit(3, stream=stream)
    world.run_until(world.is_done)
    assert [event.code for event in session.events] == [1001] * 5 + [1002]
    first, last = session.events[0].message, session.events[-1].message
    process_id = world.launches[0][1]
    assert first == (
        f"Executor {process_id} on node localhost failed to bind session with return_code 12:"
        " on_session_enter failed: ValueError: no model"
    )
    assert last.startswith("Session retry limit reached after 5/5 failed attempts; ")
    assert "no model" in last
    assert set(stream.states.values()) == {TaskState.FAILED}
    assert all("no model" in (message or "") for _, _, message in stream.results.values())
    assert [event.code for event in session_info(session).events] == [1001] * 5 + [1002]


def test_a_session_that_gave_up_stays_open_and_fails_later_tasks_at_once() -> None:
    world = World(cpus=1, habits=FAILING)
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    launched, hour = len(world.launches), world.now
    stream = world.stream()
    world.submit(stream=stream)
    assert list(stream.states.values()) == [TaskState.FAILED]
    assert (world.now, len(world.launches)) == (hour, launched)
    assert session.failed == 2
    world.close()


def test_the_pause_after_a_failed_bind_doubles() -> None:
    world = World(cpus=1, habits=Habits(refused="no such file"), limits=Limits(bind_backoff_s=0.05))
    world.session()
    world.submit()
    world.run_until(world.is_done)
    times = [when for when, _ in world.launches]
    pauses = [round(later - earlier, 6) for earlier, later in pairwise(times)]
    assert pauses == [0.05, 0.1, 0.2, 0.4]


def test_a_task_that_is_done_forgives_failed_binds() -> None:
    world = World(cpus=1)
    session = world.session()
    for _ in range(6):
        world.next_habits.append(FAILING)
        world.next_habits.append(Habits())
        world.submit()
        world.run_until(world.is_done)
        world.kill(world.alive[0].id)
    assert session.gave_up is None
    assert (session.succeed, session.failed) == (6, 0)


def test_a_failed_bind_of_one_does_not_stop_the_others() -> None:
    world = World(cpus=6)
    world.next_habits.append(Habits(start_s=1.0, task_s=0.1))
    world.habits = Habits(refused="no")
    session = world.session()
    world.submit(6)
    world.run_until(world.is_done)
    assert session.gave_up is not None
    assert session.succeed == 6, "the executor that is there does the work"


def test_a_process_that_cannot_be_started_says_why() -> None:
    world = World(habits=Habits(refused="No such file or directory: 'nope'"))
    session = world.session()
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(world.is_done)
    assert "return_code 11: shim creation failed" in session.events[0].message
    assert "could not be started: No such file or directory: 'nope'" in (stream.results[1][2] or "")


def test_a_process_that_never_attaches_is_killed_in_time_and_counts_as_a_failed_bind() -> None:
    world = World(limits=Limits(attach_s=60.0))
    world.next_habits.append(Habits(start_s=None))
    session = world.session()
    start = world.now
    world.submit()
    world.run_until(world.is_done)
    assert world.kills == [(start + 60.0, world.launches[0][1])]
    (event,) = session.events
    assert event.code == 1001
    assert "return_code 11: shim creation failed: the process did not call flamepy.run within 60 s" in event.message
    assert session.succeed == 1


def test_an_executor_that_attaches_after_its_time_is_refused() -> None:
    world = World(limits=Limits(attach_s=1.0))
    world.next_habits.append(Habits(start_s=None))
    world.session(min_instances=1)
    (process,) = world.alive
    world.now += 1.0
    world.settle()
    with pytest.raises(FlameError, match="RELEASING, not waited for"):
        world.engine.executors.attached(process.id, world.now)
    world.run(1.0)


def test_an_executor_that_failed_to_enter_and_hangs_is_killed() -> None:
    """It kept its room for ever."""
    world = World(cpus=1, limits=Limits(leave_s=10.0))
    world.next_habits.append(Habits(enter_failure="no", leave_s=None))
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    assert [executor_id for _, executor_id in world.kills] == [world.launches[0][1]]
    assert session.succeed == 1
    assert "on_session_enter failed: no" in session.events[0].message


def test_a_process_that_ends_before_it_has_entered_is_a_failed_bind() -> None:
    world = World(cpus=1)
    world.next_habits.append(Habits(enter_s=None))
    session = world.session()
    world.submit()
    world.run(0.2)
    world.die(world.launches[0][1], "exited with status 3")
    world.run_until(world.is_done)
    assert [event.code for event in session.events] == [1001]
    assert "shim creation failed: the process exited with status 3" in session.events[0].message


@pytest.mark.parametrize("habits", [Habits(), Habits(leave_s=None)])
@pytest.mark.parametrize("failure", [None, "changed my mind"])
def test_saying_twice_that_it_has_entered_changes_nothing(habits: Habits, failure: str | None) -> None:
    """IllegalTransition, which is for our own bugs, came out of the engine."""
    world = World(habits=habits, limits=Limits(leave_s=5.0))
    session = world.session(min_instances=1)
    world.run(1.0)
    (executor,) = session.executors.values()
    (process,) = world.alive
    again = CompletionBatch(process.id, entered=True, failure=failure)
    world.report(process, again)
    world.settle()
    assert executor.state.name == "BOUND"
    world.close()
    world.report(process, again)
    world.settle()
    assert executor.state.name == "UNBINDING"
    world.run(20.0)
    assert not session.events


def test_entering_after_it_was_killed_for_lateness_changes_nothing() -> None:
    world = World(limits=Limits(leave_s=5.0))
    world.next_habits.append(Habits(enter_s=None, leave_s=None))
    session = world.session(min_instances=1)
    world.run(1.0)
    (process,) = world.alive
    (executor,) = session.executors.values()
    world.close()
    world.now += 5.0
    world.settle()
    assert executor.state.name == "RELEASING"
    world.report(process, CompletionBatch(process.id, entered=True))
    world.run(1.0)
    assert not world.alive


def test_a_session_may_be_closed_while_its_executor_is_on_its_way() -> None:
    for pause in (0.0, 0.05, 0.105):
        world = World()
        world.session()
        world.submit()
        world.run(pause)
        world.close()
        world.run(30.0)
        assert not world.alive
        assert world.engine.state.free == world.engine.state.capacity


def test_a_failed_installation_is_a_failed_bind_with_its_own_code() -> None:
    world = World(cpus=1, habits=Habits(install_s=3.0, install_failure="no route to the package"))
    session = world.session()
    stream = world.stream()
    world.submit(stream=stream)
    world.run_until(world.is_done)
    assert [event.code for event in session.events] == [1001] * 5 + [1002]
    process_id = world.launches[0][1]
    assert session.events[0].message == (
        f"Executor {process_id} on node localhost failed to bind session with return_code 10:"
        " application installation failed: no route to the package"
    )
    assert "application installation failed: no route to the package" in (stream.results[1][2] or "")


def test_the_time_to_attach_begins_when_the_process_starts_not_with_a_long_installation() -> None:
    world = World(cpus=1, limits=Limits(attach_s=60.0))
    world.next_habits.append(Habits(install_s=400.0, start_s=59.0))
    session = world.session()
    world.submit()
    world.run_until(world.is_done)
    assert (session.succeed, session.events, world.kills, len(world.launches)) == (1, [], [], 1)


def test_a_process_that_does_not_attach_after_a_long_installation_is_killed_in_time() -> None:
    world = World(cpus=1, limits=Limits(attach_s=60.0))
    world.next_habits.append(Habits(install_s=400.0, start_s=None))
    session = world.session()
    start = world.now
    world.submit()
    world.run_until(world.is_done)
    assert world.kills == [(start + 460.0, world.launches[0][1])]
    assert "did not call flamepy.run within 60 s" in session.events[0].message


def test_a_session_closed_while_its_application_is_installed_kills_the_installation_and_blames_nobody() -> None:
    world = World(habits=Habits(install_s=600.0))
    session = world.session()
    world.submit()
    world.run(1.0)
    world.close()
    world.run(1.0)
    assert not world.alive
    assert not session.events
    assert world.engine.state.free == world.engine.state.capacity


def test_word_of_the_start_of_an_executor_that_is_gone_changes_nothing() -> None:
    world = World()
    world.engine.executors.started("ghost", world.now)
    assert world.engine.next_deadline is None


def test_an_executor_that_ends_after_a_long_idle_time_is_no_failed_attempt() -> None:
    """A session kept warm gave up when its fifth executor in as many weeks was killed."""
    world = World()
    session = world.session(min_instances=1)
    for _ in range(10):
        world.run(100.0)
        world.kill(world.alive[0].id)
    world.run(1.0)
    assert not session.events
    assert session.alive == 1


def test_a_bind_alone_does_not_begin_the_count_anew() -> None:
    """Else a service that enters and dies before its first task would be started for ever."""
    world = World(cpus=1, habits=Habits(task_s=None))
    session = world.session(min_instances=1)
    for _ in range(5):
        world.run_until(lambda: any(executor.is_idle for executor in session.executors.values()))
        world.run(1.0)
        world.kill(world.alive[0].id)
    assert [event.code for event in session.events] == [1001] * 5 + [1002]
    assert "before its first task the process was killed by SIGKILL" in session.events[-1].message
    world.run(100.0)
    assert len(world.launches) == 5


def test_a_long_installation_does_not_make_an_executors_turn_longer() -> None:
    world = World(cpus=1, habits=Habits(install_s=400.0, start_s=0.1, enter_s=0.01))
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    (executor,) = session.executors.values()
    assert executor.settles_at <= world.now + world.engine.state.limits.quantum_s
