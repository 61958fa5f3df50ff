"""§10.2."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from flamepy import ApplicationAttributes, SessionState, Shim, TaskState
from tests.compat.echo import ask, common_data, final_state, request
from tests.conftest import SERVICES, Daemon, Place, has_closed, new_place, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.compat.conftest import NewEcho

FAILED_EVENT = 3
BIND_FAILED_EVENT = 1001
NO_SHIM_EVENT = 1004


def fail_one(session: flamepy.Session, text: str = "asked to") -> flamepy.Task:
    """A task that failed, as it is afterwards."""
    task = session.create_task(request(fail=text))
    assert final_state(session.watch_task(task.id)) is TaskState.FAILED
    return session.get_task(task.id)


def failing(new_session: NewEcho, text: str = "all of them") -> flamepy.Session:
    """A session where every task fails."""
    return new_session(common_data=common_data(fail_tasks=text))


# -- what a service is told


def test_an_input_is_echoed_by_a_new_instance(session: flamepy.Session) -> None:
    assert ask(session, input="hello") == {"output": "hello", "common": None, "tasks": 1, "enters": 1, "leaves": 0}


def test_the_task_context_names_task_and_session_and_has_the_input(session: flamepy.Session) -> None:
    assert ask(session, contexts=["task"])["task"] == {"task_id": "1", "session_id": session.id, "has_input": True}


def test_the_session_context_names_the_session_and_has_no_common_data(session: flamepy.Session) -> None:
    told = ask(session, contexts=["session"])["session"]
    assert told == {"session_id": session.id, "has_common_data": False, "application": "echo"}


def test_the_application_context_is_as_registered(session: flamepy.Session) -> None:
    told = ask(session, contexts=["application"])["application"]
    assert told == {
        "name": "echo",
        "image": None,
        "command": "python3",
        "working_directory": str(SERVICES),
        "url": None,
    }


def test_all_contexts_are_there_together(session: flamepy.Session) -> None:
    told = ask(session, input="x", contexts=["task", "session", "application"])
    assert told["output"] == "x"
    assert told["task"]["session_id"] == told["session"]["session_id"] == session.id
    assert told["session"]["application"] == told["application"]["name"] == "echo"


def test_each_task_is_told_what_it_asked_for(session: flamepy.Session) -> None:
    for what in ("task", "session", "application"):
        assert {"task", "session", "application"} & set(ask(session, contexts=[what])) == {what}


# -- state


def test_sequential_tasks_reach_one_instance(session: flamepy.Session) -> None:
    told = [ask(session) for _ in range(5)]
    assert [(each["tasks"], each["enters"], each["leaves"]) for each in told] == [(n, 1, 0) for n in range(1, 6)]


def test_sessions_share_no_state(new_session: NewEcho) -> None:
    first = new_session()
    assert [ask(first)["tasks"] for _ in range(3)] == [1, 2, 3]
    first.close()
    told = ask(new_session())
    assert (told["tasks"], told["enters"]) == (1, 1)


def test_all_tasks_are_listed(session: flamepy.Session) -> None:
    for number in range(5):
        assert ask(session, input=number)["output"] == number
    tasks = list(session.list_tasks())
    assert [(task.id, task.session_id, task.state) for task in tasks] == [
        (str(number), session.id, TaskState.SUCCEED) for number in range(1, 6)
    ]
    assert all(task.creation_time is not None for task in tasks)


# -- common data


def test_a_service_sees_the_common_data(new_session: NewEcho) -> None:
    session = new_session(common_data=common_data(value="shared"))
    assert ask(session, input="x")["common"] == "shared"


def test_the_session_context_has_the_common_data(new_session: NewEcho) -> None:
    session = new_session(common_data=common_data(value="shared"))
    assert ask(session, contexts=["session"])["session"]["has_common_data"] is True


def test_a_change_in_the_service_leaves_the_common_data_as_it_is(new_session: NewEcho) -> None:
    session = new_session(common_data=common_data(value="shared"))
    for value in ("one", "two", "three"):
        assert ask(session, input=value, replace_common=True)["common"] == value
        told = ask(session, contexts=["session"])
        assert (told["common"], told["session"]["has_common_data"]) == ("shared", True)


# -- failures


def test_an_exception_ends_the_task_and_its_text_is_in_the_event(new_session: NewEcho) -> None:
    session = failing(new_session, "no such luck")
    task = session.create_task(b"{}")
    assert final_state(session.watch_task(task.id)) is TaskState.FAILED
    (event,) = [event for event in session.get_task(task.id).events or () if event.code == FAILED_EVENT]
    assert "no such luck" in (event.message or "")


def test_a_failure_is_recorded_in_the_state(new_session: NewEcho) -> None:
    session = failing(new_session)
    task = session.create_task(b"{}")
    assert final_state(session.watch_task(task.id)) is TaskState.FAILED
    found = session.get_task(task.id)
    assert (found.state, found.is_failed(), found.is_completed()) == (TaskState.FAILED, True, True)


def test_a_failed_task_has_an_event_with_a_message(new_session: NewEcho) -> None:
    failed = fail_one(failing(new_session))
    assert [bool(event.message) for event in failed.events or () if event.code == FAILED_EVENT] == [True]


def test_nothing_fails_unless_asked_to(new_session: NewEcho) -> None:
    session = new_session(common_data=common_data(value="plain"))
    assert ask(session, input="x")["output"] == "x"
    found = flamepy.get_session(session.id)
    assert (found.succeed, found.failed) == (1, 0)


def test_a_session_goes_on_after_a_failure(session: flamepy.Session) -> None:
    fail_one(session)
    assert ask(session, input="after")["output"] == "after"
    found = flamepy.get_session(session.id)
    assert (found.succeed, found.failed) == (1, 1)


def test_a_service_that_cannot_enter_is_an_event_of_its_session(new_session: NewEcho) -> None:
    session = new_session(common_data=common_data(fail_enter="not in the mood"), max_instances=1)
    session.create_task(b"{}")

    def failed_attempts() -> list[str]:
        found = flamepy.get_session(session.id)
        assert found.state is SessionState.OPEN
        return [event.message or "" for event in found.events if event.code == BIND_FAILED_EVENT]

    wait_until(failed_attempts, "an attempt to bind has failed")
    assert "failed to bind session" in failed_attempts()[0]
    assert "not in the mood" in failed_attempts()[0]
    session.close()
    assert flamepy.get_session(session.id).state is SessionState.CLOSED


def test_of_parallel_tasks_only_those_fail_that_should(session: flamepy.Session) -> None:
    def run(number: int) -> Any:
        try:
            return ask(session, input=number, **({"fail": "odd"} if number % 2 else {}))["output"]
        except flamepy.FlameError as error:
            return error.message

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(run, range(5)))
    assert outcomes[::2] == [0, 2, 4]
    assert all("odd" in outcome for outcome in outcomes[1::2])
    found = flamepy.get_session(session.id)
    assert (found.succeed, found.failed) == (3, 2)


def test_a_failure_changes_nothing_for_the_tasks_before_and_after_it(session: flamepy.Session) -> None:
    assert [ask(session, input=number)["output"] for number in range(3)] == [0, 1, 2]
    fail_one(session)
    assert [ask(session, input=number)["output"] for number in range(3)] == [0, 1, 2]
    found = flamepy.get_session(session.id)
    assert (found.succeed, found.failed) == (6, 1)


def test_a_session_stays_open_after_failures(new_session: NewEcho) -> None:
    session = failing(new_session)
    fail_one(session)
    assert flamepy.get_session(session.id).state is SessionState.OPEN


def test_a_failure_is_counted_as_soon_as_the_watch_has_ended(new_session: NewEcho) -> None:
    session = failing(new_session)
    before = flamepy.get_session(session.id).failed
    task = session.create_task(b"{}")
    assert final_state(session.watch_task(task.id)) is TaskState.FAILED
    assert flamepy.get_session(session.id).failed == before + 1


def test_a_session_with_failed_tasks_can_be_closed(new_session: NewEcho) -> None:
    session = failing(new_session)
    fail_one(session)
    session.close()
    assert flamepy.get_session(session.id).state is SessionState.CLOSED


def test_a_new_task_may_succeed_where_one_has_failed(session: flamepy.Session) -> None:
    fail_one(session)
    assert ask(session, input="again")["output"] == "again"


def test_a_new_session_may_succeed_where_one_has_failed(new_session: NewEcho) -> None:
    first = failing(new_session)
    fail_one(first)
    first.close()
    assert ask(new_session(), input="again")["output"] == "again"


def test_a_session_recovers_from_several_failures(session: flamepy.Session) -> None:
    for _ in range(2):
        fail_one(session)
    assert [ask(session, input=number)["output"] for number in range(3)] == [0, 1, 2]
    found = flamepy.get_session(session.id)
    assert (found.succeed, found.failed) == (3, 2)


# -- watching


def test_a_watch_brings_updates_and_ends_with_success(session: flamepy.Session) -> None:
    task = session.create_task(request(input="x"))
    updates = [update.state for update in session.watch_task(task.id)]
    assert updates == sorted(updates)
    assert updates[-1] is TaskState.SUCCEED


def test_watching_a_finished_task_gives_its_final_state_first(session: flamepy.Session) -> None:
    ask(session)
    (task,) = session.list_tasks()
    assert next(session.watch_task(task.id)).state is TaskState.SUCCEED


# -- shims


def test_a_host_application_runs(session: flamepy.Session) -> None:
    assert (session.application, session.state) == ("echo", SessionState.OPEN)
    told = ask(session, input="x")
    assert (told["output"], told["tasks"]) == ("x", 1)


def test_an_application_without_a_shim_runs_as_host(echo_app: str, session: flamepy.Session) -> None:
    application = flamepy.get_application(echo_app)
    assert application is not None
    assert application.shim is Shim.HOST
    assert ask(session, input="x")["output"] == "x"


@pytest.mark.usefixtures("instance")
def test_a_session_of_a_built_in_application_opens() -> None:
    session = flamepy.create_session("flmping")
    assert (session.application, session.state) == ("flmping", SessionState.OPEN)
    session.close()


class PlaceWithoutWasm(Place):
    """Whatever is installed, an instance here runs no components."""

    def __init__(self, place: Place) -> None:
        self.folder, self.home = place.folder, place.home

    def environment(self, **extra: str) -> dict[str, str]:
        hidden = self.folder / "hidden"
        hidden.mkdir(exist_ok=True)
        (hidden / "wasmtime.py").write_text("raise ImportError('hidden by a test')\n")
        ordinary = super().environment(**extra)
        return ordinary | {"PYTHONPATH": f"{hidden}:{ordinary['PYTHONPATH']}"}


@pytest.fixture
def host_only() -> Iterator[flamepy.Connection]:
    """A connection to an instance that runs processes only, where a Wasm application is registered."""
    with new_place() as place:
        daemon = Daemon(PlaceWithoutWasm(place))
        connection = daemon.connect()
        attributes = ApplicationAttributes(shim=Shim.WASM, command="/bin/echo", arguments=["hello"])
        connection.register_application("component", attributes)
        yield connection
        connection.close()
        daemon.stop()


def test_a_wasm_session_opens_and_its_task_stays_pending_where_no_executor_runs_it(
    host_only: flamepy.Connection,
) -> None:
    session = host_only.create_session(flamepy.SessionAttributes("component"))
    assert session.state is SessionState.OPEN
    task = session.create_task(b"input")
    wait_until(
        lambda: [event for event in host_only.get_session(session.id).events if event.code == NO_SHIM_EVENT],
        "the session is told that nobody can run it",
    )
    assert session.get_task(task.id).state is TaskState.PENDING
    assert host_only.get_session(session.id).state is SessionState.OPEN
    wait_until(functools.partial(has_closed, session), "the session can be closed")
    host_only.unregister_application("component")
