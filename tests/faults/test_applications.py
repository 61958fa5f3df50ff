"""Applications that cannot serve: their tasks fail soon, with the reason, and the session tells the story."""

from __future__ import annotations

import sys

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, SessionState, TaskState
from tests.conftest import FAULT_S, NOTHING, act, actor_session, executors_of, expect_refusal, wait_until

NOISY = "import sys; print('license expired', file=sys.stderr); sys.exit(3)"


def session_of(client: flamepy.Connection, name: str, **attributes: object) -> flamepy.Session:
    """A session of an application that is known under this name from now on."""
    if client.get_application(name) is None:
        client.register_application(name, attributes)
    return client.create_session(SessionAttributes(name, max_instances=1, resreq=NOTHING))


@pytest.mark.parametrize(
    ("name", "attributes", "texts"),
    [
        ("no-command", {}, ["has no command"]),
        ("missing", {"command": "no-such-command"}, ["could not be started", "no-such-command"]),
        ("no-folder", {"command": "true", "working_directory": "/no/such/folder"}, ["/no/such/folder"]),
        ("not-executable", {"command": "/etc/passwd"}, ["Permission denied", "/etc/passwd"]),
        ("noisy", {"command": sys.executable, "arguments": ["-c", NOISY]}, ["status 3", "license expired"]),
        ("silent", {"command": "true"}, ["exited with status 0"]),
        ("killed", {"command": "sh", "arguments": ["-c", "kill -9 $$"]}, ["was killed by SIGKILL"]),
    ],
)
def test_a_program_that_does_not_serve_fails_its_tasks_with_the_reason(
    client: flamepy.Connection, name: str, attributes: dict[str, object], texts: list[str]
) -> None:
    session = session_of(client, name, **attributes)
    with expect_refusal(FlameErrorCode.INTERNAL, "failed to bind session", "gave up after 5/5 attempts", *texts):
        session.run(b"x").result(FAULT_S)
    now = client.get_session(session.id)
    assert [event.code for event in now.events] == [1001] * 5 + [1002]
    assert all(text in (event.message or "") for event in now.events for text in texts)
    assert (now.state, now.failed, now.pending) == (SessionState.OPEN, 1, 0)
    session.close()
    assert client.get_session(session.id).state is SessionState.CLOSED


def test_tasks_that_come_later_fail_at_once(client: flamepy.Connection) -> None:
    session = session_of(client, "missing-too", command="no-such-command")
    with expect_refusal(FlameErrorCode.INTERNAL, "no-such-command"):
        session.run(b"x").result(FAULT_S)
    with expect_refusal(FlameErrorCode.INTERNAL, "no-such-command"):
        session.run(b"y").result(FAULT_S)
    task = session.create_task(b"z")
    last = list(session.watch_task(task.id, FAULT_S))[-1]
    assert last.state is TaskState.FAILED
    assert "no-such-command" in (next(event for event in last.events or () if event.code == 3).message or "")
    session.close()


def test_all_that_waits_fails_together(client: flamepy.Connection) -> None:
    session = session_of(client, "missing-three", command="no-such-command")
    for future in [session.run(b"x") for _ in range(100)]:
        with expect_refusal(FlameErrorCode.INTERNAL, "no-such-command"):
            future.result(FAULT_S)
    session.close()


def test_a_service_that_cannot_enter_fails_with_its_own_text(client: flamepy.Connection) -> None:
    session = actor_session(client, act("fail", "no weights found"))
    with expect_refusal(FlameErrorCode.INTERNAL, "on_session_enter failed: ValueError: no weights found"):
        session.run(b"x").result(FAULT_S)
    first = client.get_session(session.id).events[0]
    assert first.code == 1001
    for text in ("failed to bind session", "return_code 12", "ValueError: no weights found"):
        assert text in (first.message or "")
    session.close()


@pytest.mark.parametrize(
    ("verb", "text"), [(("exit", 7), "status 7"), (("vanish", 8), "status 8"), (("die",), "SIGKILL")]
)
def test_a_service_that_ends_while_entering_fails_with_how_it_ended(
    client: flamepy.Connection, verb: tuple[str, object], text: str
) -> None:
    session = actor_session(client, act(*verb))
    with expect_refusal(FlameErrorCode.INTERNAL, "failed to bind session", text):
        session.run(b"x").result(FAULT_S)
    session.close()


def test_a_session_can_be_closed_while_its_application_still_tries(client: flamepy.Connection) -> None:
    session = session_of(client, "hopeless", command="no-such-command")
    future = session.run(b"x")
    wait_until(lambda: client.get_session(session.id).events, "the first attempt has failed")
    session.close()
    with pytest.raises(flamepy.FlameError):
        future.result(FAULT_S)
    wait_until(lambda: not executors_of(session), "no executor is left", FAULT_S)


def test_a_new_session_works_after_the_application_was_repaired(client: flamepy.Connection) -> None:
    session = session_of(client, "repaired", command="no-such-command")
    with expect_refusal(FlameErrorCode.INTERNAL, "no-such-command"):
        session.run(b"x").result(FAULT_S)
    session.close()
    client.unregister_application("repaired")
    session = session_of(client, "repaired", command=sys.executable, arguments=["-m", "hearth.apps.flmping"])
    assert b"Completed" in (session.run(b"x").result(FAULT_S) or b"")
    session.close()
