"""Closing a session when its tasks have ended, or whatever they do; and what becomes of closed sessions."""

from __future__ import annotations

import pytest

from flamepy.core.types import ApplicationAttributes, FlameErrorCode, SessionState, Shim, TaskState
from flamepy.protocol import CloseMode
from hearth.engine.state import Limits
from hearth.engine.views import session_info
from tests.hearth.engine.driver import Habits, World
from tests.hearth.engine.test_sessions import expect_refusal

DRAIN, FORCE, PLAIN = CloseMode.DRAIN, CloseMode.FORCE, CloseMode.PLAIN


# -- drain


def test_draining_finishes_everything_first_and_then_closes() -> None:
    world = World(cpus=1, habits=Habits(task_s=1.0))
    session = world.session()
    stream = world.stream()
    world.submit(3, stream=stream)
    world.run_until(lambda: session.running == 1)
    assert world.close(mode=DRAIN).state is SessionState.OPEN
    assert session_info(session).closing
    assert not world.told_closed
    world.run_until(lambda: session.state is SessionState.CLOSED)
    assert world.told_closed == ["s"]
    assert set(stream.states.values()) == {TaskState.SUCCEED}
    assert len(stream.results) == 3
    assert stream.has_ended
    assert (session.completed, session_info(session).closing) == (world.now, False)
    world.run(60.0)
    assert not world.alive


def test_a_session_with_nothing_to_do_is_drained_at_once() -> None:
    world = World()
    world.session()
    assert world.close(mode=DRAIN).state is SessionState.CLOSED
    assert world.close(mode=DRAIN).state is SessionState.CLOSED
    assert world.told_closed == ["s"], "whoever asked in the same batch is answered with the rest"


def test_a_closing_session_takes_no_more_tasks() -> None:
    world = World(habits=Habits(task_s=5.0))
    world.session()
    world.submit()
    world.close(mode=DRAIN)
    with expect_refusal(FlameErrorCode.INVALID_STATE, "session 's' is closing and takes no more tasks"):
        world.submit()
    world.run_until(world.is_done)
    with expect_refusal(FlameErrorCode.INVALID_STATE, "is closed"):
        world.submit()


def test_draining_waits_for_the_retries_of_a_task() -> None:
    world = World(habits=Habits(task_s=1.0))
    session = world.session()
    world.submit()
    world.close(mode=DRAIN)
    world.run_until(lambda: session.running == 1)
    world.kill(world.alive[0].id)
    assert session.state is SessionState.OPEN
    world.run_until(lambda: session.state is SessionState.CLOSED)
    assert session.succeed == 1


def test_draining_twice_is_one_end() -> None:
    world = World(habits=Habits(task_s=1.0))
    session = world.session()
    world.submit()
    world.close(mode=DRAIN)
    world.close(mode=DRAIN)
    world.run_until(lambda: session.state is SessionState.CLOSED)
    assert world.told_closed == ["s"]


def test_a_closing_session_whose_last_task_is_cancelled_is_closed() -> None:
    world = World(cpus=0)
    session = world.session()
    world.submit()
    world.close(mode=DRAIN)
    world.cancel(1)
    assert session.state is SessionState.CLOSED
    assert world.told_closed == ["s"]


@pytest.mark.parametrize("mode", [PLAIN, FORCE])
def test_a_closing_session_may_still_be_closed_otherwise(mode: CloseMode) -> None:
    world = World(cpus=0)
    session = world.session()
    world.submit(2)
    world.close(mode=DRAIN)
    assert world.close(mode=mode).state is SessionState.CLOSED
    assert session.cancelled == 2
    assert world.told_closed == ["s"], "those who wait for the drain are told"


def test_a_session_that_gave_up_drains_by_failing() -> None:
    world = World(habits=Habits(enter_failure="no"))
    session = world.session()
    world.submit(2)
    world.close(mode=DRAIN)
    world.run_until(lambda: session.state is SessionState.CLOSED)
    assert session.failed == 2


# -- force


def test_force_cancels_what_runs_and_what_waits_and_closes_at_once() -> None:
    world = World(cpus=1, habits=Habits(task_s=None, leave_s=None))
    session = world.session()
    stream = world.stream()
    world.submit(3, stream=stream)
    world.run_until(lambda: session.running == 1)
    hour = world.now
    assert world.close(mode=FORCE).state is SessionState.CLOSED
    assert (session.cancelled, session.running) == (3, 0)
    assert {result[2] for result in stream.results.values()} == {"cancelled: its session was closed"}
    assert stream.has_ended
    assert not world.told_closed, "nobody was kept waiting"
    world.run_until(lambda: not world.alive)
    assert world.now == pytest.approx(hour + 0.25), "the grace, not the ten seconds to leave"


def test_an_executor_that_ends_its_task_within_the_grace_leaves_well() -> None:
    world = World(cpus=1, habits=Habits(task_s=0.2, leave_s=0.01))
    session = world.session()
    world.submit(2)
    world.run_until(lambda: session.running == 1)
    world.close(mode=FORCE)
    world.run(5.0)
    assert not world.alive
    assert not world.kills


def test_force_on_a_closed_session_changes_nothing() -> None:
    world = World()
    world.session()
    first = world.close().completed
    world.run(1.0)
    assert world.close(mode=FORCE).completed == first


@pytest.mark.parametrize("mode", list(CloseMode))
def test_closing_an_unknown_session_is_not_found(mode: CloseMode) -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'ghost' not found"):
        World().close("ghost", mode)


# -- delete


def test_a_closed_session_can_be_deleted_and_its_id_used_again() -> None:
    world = World()
    world.session()
    world.submit(3, data=bytes(100))
    world.run_until(world.is_done)
    world.close()
    world.engine.sessions.delete("s")
    world.settle()
    assert world.engine.tasks.held_bytes == 0
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'s' not found"):
        world.engine.state.session("s")
    assert world.session().tasks == []


def test_an_open_session_is_not_deleted() -> None:
    world = World()
    world.session()
    with expect_refusal(FlameErrorCode.INVALID_STATE, "'s' is open; close it first"):
        world.engine.sessions.delete("s")
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'ghost' not found"):
        world.engine.sessions.delete("ghost")


def test_the_executor_of_a_deleted_session_still_leaves() -> None:
    world = World(habits=Habits(task_s=None, leave_s=None))
    session = world.session()
    world.submit()
    world.run_until(lambda: session.running == 1)
    world.close(mode=FORCE)
    world.engine.sessions.delete("s")
    world.session(min_instances=1)
    world.run(30.0)
    assert len(world.alive) == 1
    assert world.engine.state.free.cpu == 3


# -- retention


def test_beyond_its_limit_the_instance_forgets_the_session_that_was_closed_first() -> None:
    world = World(limits=Limits(max_sessions=3))
    for name in ("a", "b", "c"):
        world.session(name)
    for name in ("b", "a"):
        world.run(1.0)
        world.close(name)
    world.session("d")
    assert set(world.engine.state.sessions) == {"a", "c", "d"}
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'b' not found"):
        world.engine.state.session("b")
    world.session("e")
    assert set(world.engine.state.sessions) == {"c", "d", "e"}


def test_while_all_are_open_no_more_are_made() -> None:
    world = World(limits=Limits(max_sessions=2))
    world.session("a")
    world.session("b")
    with expect_refusal(FlameErrorCode.INVALID_STATE, "2 open sessions, and max_sessions is 2; close one first"):
        world.session("c")
    world.close("a")
    world.session("c")
    assert set(world.engine.state.sessions) == {"b", "c"}


def test_a_creation_that_is_refused_forgets_nothing() -> None:
    world = World(limits=Limits(max_sessions=1))
    world.session("a")
    world.close("a")
    for name, application in (("a", "app"), ("b", "ghost")):
        with expect_refusal(
            FlameErrorCode.ALREADY_EXISTS if name == "a" else FlameErrorCode.NOT_FOUND, "exists|not found"
        ):
            world.session(name, application)
    assert set(world.engine.state.sessions) == {"a"}


def test_without_a_limit_all_are_kept() -> None:
    world = World()
    for number in range(50):
        world.session(str(number))
        world.close(str(number))
    assert len(world.engine.state.sessions) == 50


def test_what_the_forgotten_sessions_held_does_not_stay_in_memory() -> None:
    """To find the dead ones among all finished tasks, all were looked through at each session that went."""
    world = World(limits=Limits(max_sessions=5), habits=Habits(start_s=0.0, enter_s=0.0, task_s=0.001))
    for number in range(100):
        world.session(str(number))
        world.submit(20, str(number), data=bytes(10))
        world.run_until(lambda number=number: world.is_done(str(number)))  # type: ignore[misc]  # its own default
        world.close(str(number))
    assert world.engine.tasks.held_bytes == 5 * 20 * (10 + len(b"out"))
    assert len(world.engine.tasks._finished) <= 2 * 5 * 20


# -- updating applications


def test_an_application_gets_other_attributes_in_place_of_all_it_had() -> None:
    world = World()
    world.register("b", ApplicationAttributes(command="old", image="i"))
    made = world.engine.applications.get("b").created
    world.run(5.0)
    world.engine.sessions.update_application("b", ApplicationAttributes(command="new"))
    updated = world.engine.applications.get("b")
    assert (updated.attributes.command, updated.attributes.image, updated.created) == ("new", None, made)


def test_an_application_in_use_is_not_updated() -> None:
    world = World()
    world.session()
    with expect_refusal(FlameErrorCode.INVALID_STATE, "'app' has open sessions .s.; close them first"):
        world.engine.sessions.update_application("app", ApplicationAttributes())
    world.close()
    world.engine.sessions.update_application("app", ApplicationAttributes(shim=Shim.WASM))
    world.engine.sessions.unregister_application("app")
    assert not world.engine.state.sessions, "its closed sessions are still its own"


def test_an_unknown_application_is_not_updated_and_no_bad_attribute_taken() -> None:
    world = World()
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'ghost' not found"):
        world.engine.sessions.update_application("ghost", ApplicationAttributes())
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "not an absolute path"):
        world.engine.sessions.update_application("app", ApplicationAttributes(working_directory="x"))
    assert world.engine.applications.get("app").attributes.command == "x"
