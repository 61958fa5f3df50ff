"""§10.3."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import ResourceRequirement, SessionAttributes, SessionState, TaskState
from flamepy.util import short_name
from tests.compat.echo import ask, common_data, final_state, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.conftest import NewEcho


def listed_state(session_id: str) -> SessionState:
    """What the list says of it."""
    (state,) = [session.state for session in flamepy.list_sessions() if session.id == session_id]
    return state


# -- life


def test_a_session_has_the_id_it_was_given_and_is_listed_as_closed_after_its_end(new_session: NewEcho) -> None:
    session = new_session(session_id="my-own-id")
    assert (session.id, session.application, session.state) == ("my-own-id", "echo", SessionState.OPEN)
    flamepy.close_session("my-own-id")
    assert listed_state("my-own-id") is SessionState.CLOSED


def test_a_created_session_can_be_got(session: flamepy.Session) -> None:
    found = flamepy.get_session(session.id)
    assert (found.id, found.application, found.state) == (session.id, session.application, SessionState.OPEN)


def test_the_list_shows_the_state(session: flamepy.Session) -> None:
    assert listed_state(session.id) is SessionState.OPEN
    flamepy.close_session(session.id)
    assert listed_state(session.id) is SessionState.CLOSED


def test_closing_again_is_no_error(session: flamepy.Session) -> None:
    for _ in range(2):
        flamepy.close_session(session.id)
        session.close()


# -- resources


def test_resources_may_be_asked_for_by_the_byte(new_session: NewEcho) -> None:
    session = new_session(resreq=ResourceRequirement(cpu=1, memory=512, gpu=0))
    assert ask(session, input="x")["output"] == "x"


def test_a_range_of_instances_may_be_asked_for(new_session: NewEcho) -> None:
    assert ask(new_session(min_instances=0, max_instances=5), input="x")["output"] == "x"


def test_a_batch_size_is_accepted(new_session: NewEcho) -> None:
    assert new_session(batch_size=2, min_instances=2).state is SessionState.OPEN


# -- many at once


def test_three_sessions_of_one_application_answer(new_session: NewEcho) -> None:
    sessions = [new_session() for _ in range(3)]
    assert {session.state for session in sessions} == {SessionState.OPEN}
    assert [ask(session, input=session.id)["output"] for session in sessions] == [session.id for session in sessions]


def test_many_threads_invoke_on_one_session(session: flamepy.Session) -> None:
    with ThreadPoolExecutor(5) as pool:
        outputs = list(pool.map(lambda number: ask(session, input=number)["output"], range(10)))
    assert outputs == list(range(10))


def test_many_threads_create_sessions(new_session: NewEcho) -> None:
    ids = [short_name("parallel") for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        sessions = list(pool.map(lambda each: new_session(session_id=each), ids))
    assert [(session.id, session.state) for session in sessions] == [(each, SessionState.OPEN) for each in ids]


# -- tasks


def test_a_task_goes_from_pending_to_succeed(session: flamepy.Session) -> None:
    task = session.create_task(request(input="x"))
    assert session.get_task(task.id).state in (TaskState.PENDING, TaskState.RUNNING, TaskState.SUCCEED)
    assert final_state(session.watch_task(task.id)) is TaskState.SUCCEED


def test_a_task_has_events(session: flamepy.Session) -> None:
    ask(session, input="x")
    (task,) = session.list_tasks()
    assert [event.code for event in session.get_task(task.id).events or ()] == [0, 1, 2]


def test_tasks_are_counted(session: flamepy.Session) -> None:
    for number in range(5):
        ask(session, input=number)
    found = flamepy.get_session(session.id)
    assert (found.pending, found.running, found.succeed, found.failed) == (0, 0, 5, 0)


def test_without_common_data_there_is_none(session: flamepy.Session) -> None:
    assert session.common_data() is None
    assert ask(session)["common"] is None


def test_common_data_is_on_the_session_and_reaches_the_service(new_session: NewEcho) -> None:
    data = common_data(value="shared")
    session = new_session(common_data=data)
    assert session.common_data() == data
    assert ask(session)["common"] == "shared"


def test_two_instances_take_sequential_tasks(new_session: NewEcho) -> None:
    session = new_session(min_instances=2)
    assert [ask(session, input=number)["output"] for number in range(4)] == [0, 1, 2, 3]


def test_two_instances_take_parallel_tasks(new_session: NewEcho) -> None:
    session = new_session(min_instances=2)
    futures = [session.run(request(input=number)) for number in range(4)]
    done, not_done = wait(futures, timeout=30)
    assert (len(done), len(not_done)) == (4, 0)
    assert all(future.result() for future in futures)


# -- opening


@pytest.fixture
def attributes(echo_app: str) -> Callable[..., SessionAttributes]:
    """Attributes of a session of the echo service."""
    return functools.partial(SessionAttributes, echo_app)


def test_an_existing_session_is_opened_without_a_spec(session: flamepy.Session) -> None:
    opened = flamepy.open_session(session.id)
    assert (opened.id, opened.application, opened.state) == (session.id, session.application, SessionState.OPEN)


def test_a_missing_session_is_made_from_its_spec(attributes: Callable[..., SessionAttributes]) -> None:
    opened = flamepy.open_session("to-be-made", spec=attributes("to-be-made", max_instances=5))
    assert (opened.id, opened.application, opened.state) == ("to-be-made", "echo", SessionState.OPEN)
    assert listed_state("to-be-made") is SessionState.OPEN


def test_an_existing_session_is_opened_with_the_spec_it_was_made_from(
    new_session: NewEcho, attributes: Callable[..., SessionAttributes]
) -> None:
    made = new_session(session_id="matching", min_instances=0, max_instances=10)
    opened = flamepy.open_session("matching", spec=attributes("matching", min_instances=0, max_instances=10))
    assert (opened.id, opened.creation_time) == (made.id, made.creation_time)


def test_opening_with_another_spec_names_what_differs(
    new_session: NewEcho, attributes: Callable[..., SessionAttributes]
) -> None:
    new_session(session_id="mismatched", max_instances=10)
    with pytest.raises(flamepy.FlameError, match=r"spec mismatch.*max_instances") as refusal:
        flamepy.open_session("mismatched", spec=attributes("mismatched", max_instances=5))
    assert refusal.value.code is flamepy.FlameErrorCode.INVALID_ARGUMENT


@pytest.mark.usefixtures("instance")
def test_a_missing_session_without_a_spec_is_not_found() -> None:
    with pytest.raises(flamepy.FlameError, match="not found") as refusal:
        flamepy.open_session("nobody")
    assert refusal.value.code is flamepy.FlameErrorCode.NOT_FOUND


def test_opening_any_number_of_times_gives_the_same_session(attributes: Callable[..., SessionAttributes]) -> None:
    spec = attributes("again", max_instances=5)
    opened = [flamepy.open_session("again", spec=each) for each in (spec, spec, None)]
    assert len({(session.id, session.application, session.creation_time) for session in opened}) == 1


def test_a_closed_session_does_not_open_again(session: flamepy.Session) -> None:
    session.close()
    with pytest.raises(flamepy.FlameError, match="not open") as refusal:
        flamepy.open_session(session.id)
    assert refusal.value.code is flamepy.FlameErrorCode.INVALID_ARGUMENT
