"""Making, opening, closing: the misuse table of sessions and applications."""

from __future__ import annotations

from typing import Any

import pytest

from flamepy.core.types import (
    ApplicationAttributes,
    ApplicationSchema,
    FlameError,
    FlameErrorCode,
    ResourceRequirement,
    SessionState,
    Shim,
    TaskState,
)
from hearth.engine.views import session_context_info, session_info, task_info
from tests.hearth.engine.driver import GIB, Habits, World, make_spec


def expect_refusal(code: FlameErrorCode, text: str) -> Any:
    """Like pytest.raises for a FlameError of that code whose text has the text in it."""
    return pytest.raises(FlameError, match=text, check=lambda error: error.code is code)


# -- create


def test_a_new_session_is_open_and_empty() -> None:
    world = World()
    info = session_info(world.session("s", common_data=b"\x80", max_instances=3))
    assert (info.session, info.state, info.completion_time_ms) == ("s", SessionState.OPEN, None)
    assert (info.pending, info.running, info.succeed, info.failed, info.cancelled) == (0, 0, 0, 0, 0)
    assert info.creation_time_ms == round(world.now * 1000)
    # what it did not ask for is told as what it gets
    assert info.spec == make_spec(common_data=b"\x80", max_instances=3, resreq=ResourceRequirement(1, 1 << 30, 0))
    assert not info.events


def test_a_session_of_an_unknown_application_is_not_found() -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "application 'ghost' not found"):
        World().session("s", "ghost")


def test_a_session_id_is_given_once() -> None:
    world = World()
    world.session()
    with expect_refusal(FlameErrorCode.ALREADY_EXISTS, "session 's' already exists"):
        world.session()
    world.close()
    with expect_refusal(FlameErrorCode.ALREADY_EXISTS, "session 's' already exists"):
        world.session()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"min_instances": 3, "max_instances": 2}, "min_instances 3 is over max_instances 2"),
        ({"min_instances": -1}, "want min_instances from 0"),
        ({"max_instances": 0}, "max_instances from 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"resreq": ResourceRequirement(cpu=-1)}, "an amount below 0"),
    ],
)
def test_a_spec_out_of_bounds_is_an_invalid_argument(spec: dict[str, object], text: str) -> None:
    world = World()
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, text):
        world.session(**spec)  # type: ignore[arg-type]  # all of them are fields of the spec
    assert not world.engine.state.sessions


def test_an_empty_session_id_is_an_invalid_argument() -> None:
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "its id is empty"):
        World().session("")


def test_batch_size_two_is_accepted() -> None:
    assert World().session(batch_size=2, min_instances=2).wanted == 2


def test_an_instance_learns_its_session_application_and_common_data() -> None:
    world = World()
    world.register("full", ApplicationAttributes(image="i", command="c", working_directory="/w", url="u"))
    context = session_context_info(world.session("s", "full", common_data=b""))
    assert (context.session, context.application, context.common_data) == ("s", "full", b"")
    assert (context.image, context.command, context.working_directory, context.url) == ("i", "c", "/w", "u")


# -- open


def test_opening_an_open_session_gives_it_back() -> None:
    world = World()
    session = world.session(max_instances=2)
    assert world.engine.sessions.open("s", None, world.now) is session
    assert world.engine.sessions.open("s", make_spec(max_instances=2), world.now) is session


def test_opening_an_unknown_session_makes_it_if_there_is_a_spec() -> None:
    world = World()
    session = world.engine.sessions.open("s", make_spec(), world.now)
    assert session is world.engine.state.session("s")


def test_opening_an_unknown_session_without_a_spec_is_not_found() -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "not found"):
        World().engine.sessions.open("s", None, 1.0)


def test_a_closed_session_never_reopens() -> None:
    world = World()
    world.session()
    world.close()
    for spec in (None, make_spec()):
        with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "not open"):
            world.engine.sessions.open("s", spec, world.now)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("application", "other"),
        ("resreq", ResourceRequirement(cpu=2, memory=GIB)),
        ("min_instances", 0),
        ("max_instances", 5),
        ("max_instances", None),
    ],
)
def test_opening_with_another_spec_names_the_field(field: str, value: object) -> None:
    world = World()
    world.register("other")
    world.session(min_instances=1, max_instances=2)
    spec: dict[str, Any] = {"application": "app", "min_instances": 1, "max_instances": 2, field: value}
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, f"spec mismatch: {field} is .*, asked for "):
        world.engine.sessions.open("s", make_spec(**spec), world.now)


def test_opening_does_not_compare_common_data_and_batch_size_and_the_stored_data_wins() -> None:
    world = World()
    session = world.session(common_data=b"stored")
    opened = world.engine.sessions.open("s", make_spec(common_data=b"other", batch_size=7), world.now)
    assert opened is session
    assert opened.spec.common_data == b"stored"


def test_the_default_resource_request_said_and_unsaid_are_the_same() -> None:
    world = World()
    session = world.session()
    assert world.engine.sessions.open("s", make_spec(resreq=ResourceRequirement(1, GIB, 0)), world.now) is session


# -- close


def test_closing_is_refused_while_a_task_runs_and_changes_nothing() -> None:
    world = World(cpus=1, habits=Habits(task_s=5.0))
    session = world.session()
    stream = world.stream()
    world.submit(3, stream=stream)
    world.run_until(lambda: session.running == 1)
    with expect_refusal(FlameErrorCode.INVALID_STATE, "Cannot close session with running tasks"):
        world.close()
    assert session.state is SessionState.OPEN
    assert (len(session.pending), session.running, session.cancelled) == (2, 1, 0)
    world.run_until(world.is_done)
    assert session.succeed == 3
    assert not stream.has_ended


def test_closing_cancels_what_waits_and_tells_the_streams_before_they_end() -> None:
    world = World(habits=Habits(start_s=50.0))
    session = world.session()
    stream, quiet = world.stream(), world.stream()
    world.submit(3, stream=stream)
    world.close()
    assert session.cancelled == 3
    assert set(stream.states.values()) == {TaskState.CANCELLED}
    assert len(stream.results) == 3
    assert "cancelled" in (stream.results[1][2] or "")
    assert stream.has_ended
    assert quiet.has_ended
    assert task_info(session, world.task(1)).events[-1].code == 17


def test_closing_again_keeps_the_first_completion_time() -> None:
    world = World()
    world.session()
    first = world.close().completed
    world.run(10.0)
    assert world.close().completed == first


def test_closing_an_unknown_session_is_not_found() -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'ghost' not found"):
        World().close("ghost")


def test_close_sees_what_the_watcher_has_seen() -> None:
    world = World()
    session = world.session()
    world.submit()
    world.engine.tasks.watch("s", 1, "w")
    world.run_until(lambda: world.told.get("w", [])[-1:] == [TaskState.SUCCEED])
    assert session_info(session).succeed == 1
    world.close()


def test_a_closed_session_opens_no_stream() -> None:
    world = World()
    world.session()
    world.close()
    with expect_refusal(FlameErrorCode.INVALID_STATE, "closed"):
        world.stream()


def test_a_stream_that_was_left_is_not_ended() -> None:
    world = World()
    world.session()
    stream = world.stream()
    world.engine.tasks.unsubscribe("s", stream.subscription)
    world.close()
    assert not stream.has_ended


# -- applications


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "x" * 253, "_x"])
def test_a_proper_name_is_registered(name: str) -> None:
    world = World()
    world.register(name)
    assert world.engine.applications.get(name).name == name


@pytest.mark.parametrize("name", ["", "x" * 254, "a..b", "a/b", "a\\b", ".a", "-a", "é", "a b", "a\n"])
def test_an_improper_name_is_an_invalid_argument(name: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "is not allowed"):
        World().register(name)


def test_registering_again_is_already_exists() -> None:
    with expect_refusal(FlameErrorCode.ALREADY_EXISTS, "'app' is already registered"):
        World().register("app")


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (ApplicationAttributes(working_directory="a/b"), "working_directory 'a/b' is not an absolute path"),
        (ApplicationAttributes(delay_release=-1), "delay_release is -1"),
        (ApplicationAttributes(max_instances=-1), "max_instances is -1"),
        (ApplicationAttributes(schema=ApplicationSchema(input="{")), r"schema\.input is not JSON"),
        (ApplicationAttributes(schema=ApplicationSchema(output="[]")), r"schema\.output is no JSON Schema"),
        (ApplicationAttributes(schema=ApplicationSchema(common_data="7")), r"schema\.common_data"),
    ],
)
def test_a_bad_attribute_is_an_invalid_argument(attributes: ApplicationAttributes, text: str) -> None:
    world = World()
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, text):
        world.register("b", attributes)
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'b'"):
        world.engine.applications.get("b")


def test_an_empty_working_directory_is_none() -> None:
    world = World()
    world.register("b", ApplicationAttributes(working_directory="", schema=ApplicationSchema(input='{"a": 1}')))
    assert world.engine.applications.get("b").attributes.working_directory == ""


def test_applications_are_listed_by_name() -> None:
    world = World()
    world.register("zoo")
    world.register("Ant")
    assert [application.name for application in world.engine.applications.all()] == ["Ant", "app", "zoo"]


def test_unregistering_is_refused_while_sessions_are_open() -> None:
    world = World()
    world.session("one")
    world.session("two")
    world.close("one")
    with expect_refusal(FlameErrorCode.INVALID_STATE, "open sessions.*two"):
        world.engine.sessions.unregister_application("app")
    assert set(world.engine.state.sessions) == {"one", "two"}


def test_unregistering_takes_the_closed_sessions_along() -> None:
    world = World()
    world.session()
    world.submit(5, data=bytes(100))
    world.run_until(world.is_done)
    world.close()
    world.engine.sessions.unregister_application("app")
    world.settle()
    assert not world.engine.state.sessions
    assert world.engine.tasks.held_bytes == 0
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'app' not found"):
        world.engine.applications.get("app")
    world.run(30.0)
    assert not world.alive


def test_unregistering_an_unknown_application_is_not_found() -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'ghost' not found"):
        World().engine.sessions.unregister_application("ghost")


def test_a_session_id_used_again_at_once_does_not_keep_the_old_executors() -> None:
    """They were looked up by session id, and found the new session's."""
    world = World()
    world.session(min_instances=2)
    world.run(1.0)
    old = [process.id for process in world.alive]
    world.engine.sessions.close("s", world.now)
    world.engine.sessions.unregister_application("app")
    world.register("app")
    world.session()
    world.run(20.0)
    assert len(old) == 2
    assert not world.alive


def test_a_wasm_session_opens_and_its_tasks_wait() -> None:
    world = World()
    world.register("wasm", ApplicationAttributes(shim=Shim.WASM))
    session = world.session("s", "wasm", min_instances=1)
    world.submit(2)
    world.run(3600.0)
    assert (len(session.pending), len(world.launches)) == (2, 0)
    world.close()
    assert session.cancelled == 2
