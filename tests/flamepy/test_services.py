"""What a service sees and what its answers become; after §10.2 of the Flame specification."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionState, TaskState
from tests.conftest import FAULT_S, SERVICES, SOURCE, act, actor_session, executors_of, register_actor, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Daemon, NewSession, Place


def report(session: flamepy.Session) -> dict[str, Any]:
    output = session.invoke(act("report"))
    assert output is not None
    told: dict[str, Any] = json.loads(output)
    return told


def test_five_tasks_in_a_row_reach_one_instance_that_entered_once(session: flamepy.Session) -> None:
    told = [report(session) for _ in range(5)]
    assert [each["tasks"] for each in told] == [1, 2, 3, 4, 5]
    assert {(each["enters"], each["leaves"]) for each in told} == {(1, 0)}
    assert len({each["pid"] for each in told}) == 1


def test_a_second_session_has_an_instance_of_its_own(new_session: NewSession) -> None:
    first = [report(new_session()) for _ in range(2)]
    assert [(each["tasks"], each["enters"]) for each in first] == [(1, 1), (1, 1)]
    assert len({each["pid"] for each in first}) == 2


def test_a_task_knows_its_own_id_and_session(session: flamepy.Session) -> None:
    session.invoke(b"first")
    told = report(session)
    assert told["task_id"] == "2"
    assert told["task_session_id"] == told["session_id"] == session.id


def test_a_service_knows_its_application_as_registered(session: flamepy.Session) -> None:
    assert report(session)["application"] == {
        "name": "actor",
        "image": None,
        "command": "python3",
        "working_directory": str(SERVICES),
        "url": None,
    }


def test_a_service_runs_in_its_working_directory_with_its_environment(session: flamepy.Session) -> None:
    told = report(session)
    assert told["folder"] == str(SERVICES)
    assert told["environment"]["PYTHONPATH"] == str(SOURCE)


def test_an_executor_finds_its_instance_in_the_environment(shared_daemon: Daemon, session: flamepy.Session) -> None:
    environment = report(session)["environment"]
    for name in ("FLAME_ENDPOINT", "FLAME_CACHE_ENDPOINT", "FLUX_URI"):
        assert environment[name] == shared_daemon.uri


def test_variables_in_command_arguments_and_environment_are_expanded(client: flamepy.Connection) -> None:
    client.register_application(
        "expanding",
        flamepy.ApplicationAttributes(
            command=sys.executable,
            arguments=["${SERVICE_FOLDER}/actor.py"],
            environments={"SERVICE_FOLDER": str(SERVICES), "HOME_OF": "$HOME/here", "OTHER": "$UNKNOWN_NAME"},
        ),
    )
    session = client.create_session(flamepy.SessionAttributes("expanding", max_instances=1))
    environment = report(session)["environment"]
    session.close()
    assert environment["HOME_OF"] == f"{environment['HOME']}/here"
    assert environment["OTHER"] == "$UNKNOWN_NAME"


@pytest.mark.parametrize("data", [None, b"", b"bytes \x00\xff"])
def test_common_data_comes_back_to_every_client_as_given(
    new_session: NewSession, shared_daemon: Daemon, data: bytes | None
) -> None:
    session = new_session(data)
    assert session.common_data() == data
    with contextlib.closing(shared_daemon.connect()) as other:
        assert other.get_session(session.id).common_data() == data


@pytest.mark.parametrize("data", [None, b"", b"text"])
def test_common_data_reaches_the_service_as_given(new_session: NewSession, data: bytes | None) -> None:
    assert report(new_session(data))["common_data"] == (None if data is None else data.decode())


@pytest.mark.parametrize(("told", "output"), [(None, None), ("", b""), ("text", b"text")])
def test_output_comes_back_as_returned(session: flamepy.Session, told: str | None, output: bytes | None) -> None:
    task = session.create_task(act("return", told))
    assert session.invoke(act("return", told)) == output
    assert list(session.watch_task(task.id))[-1].output == output
    assert session.get_task(task.id).output == output


def test_an_empty_input_reaches_the_service(session: flamepy.Session) -> None:
    assert session.invoke(b"") == b""


def test_a_service_that_returns_text_fails_the_task_with_the_type(session: flamepy.Session) -> None:
    with pytest.raises(flamepy.FlameError, match="must return bytes or None, got str") as failure:
        session.invoke(act("return_text"))
    assert failure.value.code is FlameErrorCode.INTERNAL
    assert session.invoke(b"next") == b"next"


def test_a_raising_service_fails_the_task_with_type_text_and_place(session: flamepy.Session) -> None:
    task = session.create_task(act("fail", "no luck today"))
    assert list(session.watch_task(task.id))[-1].state is TaskState.FAILED
    [event] = [event for event in session.get_task(task.id).events or () if event.code == 3]
    assert (event.message or "").startswith("ValueError: no luck today\n")
    assert "actor.py" in (event.message or "")


def test_a_failure_leaves_session_and_instance_as_they_were(session: flamepy.Session) -> None:
    before = report(session)
    with pytest.raises(flamepy.FlameError, match="ValueError: once"):
        session.invoke(act("fail", "once"))
    after = report(session)
    assert (after["pid"], after["tasks"]) == (before["pid"], 3)
    now = session.connection.get_session(session.id)
    assert (now.state, now.succeed, now.failed) == (SessionState.OPEN, 2, 1)


def test_the_service_is_told_that_the_session_is_over(new_session: NewSession, tmp_path: Path) -> None:
    session = new_session()
    session.invoke(act("leave_file", str(tmp_path / "left")))
    session.close()
    wait_until((tmp_path / "left").exists, "on_session_leave was called", FAULT_S)
    wait_until((tmp_path / "left").read_text, "on_session_leave has written")
    assert (tmp_path / "left").read_text() == f"{session.id} 1"


def test_a_service_may_be_a_client_of_its_own_instance(session: flamepy.Session) -> None:
    assert b"Completed" in (session.invoke(act("ask_flmping")) or b"")


def test_a_service_program_started_by_hand_says_what_it_is_missing(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, SERVICES / "actor.py"], env=place.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "FLAME_INSTANCE_ENDPOINT is not set" in done.stderr


def test_an_executor_that_nobody_waits_for_is_refused(place: Place, shared_daemon: Daemon) -> None:
    environment = place.environment(FLAME_INSTANCE_ENDPOINT=shared_daemon.uri, FLAME_EXECUTOR_ID="nobody-1")
    done = subprocess.run(
        [sys.executable, SERVICES / "actor.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert "refused executor nobody-1: executor 'nobody-1' is not one of this instance's" in done.stderr


def test_a_wasm_session_is_open_and_its_task_waits(client: flamepy.Connection) -> None:
    client.register_application("component", {"shim": flamepy.Shim.WASM, "command": "component.wasm"})
    session = client.create_session(flamepy.SessionAttributes("component"))
    task = session.create_task(b"input")
    assert session.get_task(task.id).state is TaskState.PENDING
    session.close()
    assert session.get_task(task.id).state is TaskState.CANCELLED
    client.unregister_application("component")


def test_idle_executors_go_after_the_delay_of_their_application(own_client: flamepy.Connection) -> None:
    own_client.unregister_application("actor")
    register_actor(own_client, delay_release=0)
    session = actor_session(own_client)
    assert session.invoke(b"x") == b"x"
    wait_until(lambda: not executors_of(session), "the idle executor has left", FAULT_S)
    assert session.invoke(b"y") == b"y"
    session.close()
