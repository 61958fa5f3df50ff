from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from tests.conftest import act, register_actor
from tests.hearth.cli.commands import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hearth.cli.commands import Instance


@pytest.fixture
def connection(instance: Instance) -> Iterator[flamepy.Connection]:
    connection = flamepy.connect(instance.uri)
    if connection.get_application("never") is None:
        connection.register_application("never", {"shim": flamepy.Shim.WASM})
    yield connection
    connection.close()


@pytest.fixture
def stuck(connection: flamepy.Connection) -> Iterator[flamepy.Session]:
    """A session whose tasks wait for ever."""
    session = connection.create_session(flamepy.SessionAttributes("never", timeout=7, max_retries=1, priority=3))
    yield session
    session.close(force=True)


def lines(text: str) -> dict[str, str]:
    """Of a table with two columns: by the first one."""
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines() if not line.startswith(" "))


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_session_is_made_closed_and_deleted(instance: Instance, connection: flamepy.Connection) -> None:
    told = instance.run("session", "create", "-a", "flmping", "-p", "7", "-r", "cpu=1,mem=64m")
    (session_id,) = re.fullmatch(r"Session <(flmping-\w+)> was created\.\n", told.stdout).groups()  # type: ignore[union-attr]  # fails the test
    viewed = instance.json("session", "view", session_id)
    assert (viewed["state"], viewed["priority"], viewed["resreq"]["memory"]) == ("open", 7, 64 << 20)
    assert connection.open_session(session_id).invoke(b"") is not None
    assert instance.refusal("session", "delete", session_id) == f"session '{session_id}' is open; close it first"
    assert instance.run("session", "close", session_id).stdout == f"Session <{session_id}> was closed.\n"
    assert instance.run("session", "close", session_id).returncode == 0
    assert instance.run("session", "delete", session_id).stdout == f"Session <{session_id}> was deleted.\n"
    assert "not found" in instance.refusal("session", "view", session_id)


def test_each_of_these_says_what_the_session_is_as_json(instance: Instance) -> None:
    made = instance.json("session", "create", "-a", "flmping")
    assert (made["state"], made["application"], made["pending"]) == ("open", "flmping", 0)
    closed = instance.json("session", "close", made["id"])
    assert (closed["id"], closed["state"]) == (made["id"], "closed")
    assert instance.json("session", "delete", made["id"]) == closed


@pytest.mark.parametrize(
    "arguments",
    [
        "create",
        "create -a flmping -p -1",
        "create -a flmping -r cpu=x",
        "close x --drain --force",
        "list -o xml",
        "view",
    ],
)
def test_misuse_exits_with_2(instance: Instance, arguments: str) -> None:
    assert instance.run("session", *arguments.split()).returncode == 2


def test_of_an_unknown_application_no_session_is_made(instance: Instance) -> None:
    assert "application 'ghost' not found" in instance.refusal("session", "create", "-a", "ghost")


def test_force_cancels_what_waits_and_drain_finishes_it(instance: Instance, stuck: flamepy.Session) -> None:
    stuck.create_task(b"x")
    assert instance.json("session", "close", "--force", stuck.id)["cancelled"] == 1
    session = stuck.connection.create_session(flamepy.SessionAttributes("flmping", max_instances=1))
    futures = [session.run(b"") for _ in range(500)]
    assert instance.json("session", "close", "--drain", session.id)["succeed"] == 500
    assert all(future.result(30) for future in futures)


def test_a_drain_that_is_interrupted_goes_on(instance: Instance, stuck: flamepy.Session) -> None:
    task = stuck.create_task(b"x")
    with Running(instance.env, "session", "close", "--drain", stuck.id) as command:
        wait_for(lambda: instance.json("session", "view", stuck.id)["closing"])
        assert command.stop(signal.SIGINT) == 130
    assert re.search(rf"{stuck.id} +Closing +never", instance.run("session", "list").stdout)
    assert stuck.cancel_task(task.id)
    assert instance.json("session", "view", stuck.id)["state"] == "closed"


def test_a_session_is_viewed_with_everything_about_it(instance: Instance, stuck: flamepy.Session) -> None:
    for _ in range(3):
        stuck.create_task(b"x")
    stuck.cancel_task("2")
    told = lines(instance.run("session", "view", stuck.id).stdout)
    assert told["Session"] == stuck.id
    assert told["Tasks"] == "2 pending, 0 running, 0 succeed, 0 failed, 1 cancelled"
    assert (told["Priority"], told["Task timeout"], told["Task retries"], told["Instances"]) == ("3", "7s", "1", "0..")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}: No executor .*WASM.* \(1004\)", told["Events"])
    for arguments in (["--json"], ["-o", "json"]):
        viewed = json.loads(instance.run("session", "view", stuck.id, *arguments).stdout)
        assert (viewed["timeout"], viewed["max_retries"], viewed["closing"]) == (7.0, 1, False)


def test_a_wide_list_has_more_columns(instance: Instance, stuck: flamepy.Session) -> None:
    table, wide = (instance.run("session", "list", *form).stdout for form in ([], ["-o", "wide"]))
    assert table.split("\n")[0].split()[-1] == "Created"
    assert wide.split("\n")[0].endswith("Last event")
    (row,) = [line for line in wide.splitlines() if line.startswith(stuck.id)]
    assert re.search(r"0\.\.  +7s  +1  \d\d:\d\d:\d\d\.\d{3}: No executor", row)
    assert json.loads(instance.run("session", "list", "-o", "json").stdout) == instance.json("session", "list")


def test_a_list_that_is_watched_tells_each_change(instance: Instance, stuck: flamepy.Session) -> None:
    with Running(instance.env, "session", "list", "--watch", "0.05", "--json") as command:

        def pending() -> int:
            look = json.loads(command.line())
            assert look["time"].endswith("Z")
            return next(int(each["pending"]) for each in look["sessions"] if each["id"] == stuck.id)

        assert pending() == 0
        stuck.create_task(b"x")
        wait_for(lambda: pending() == 1)
        assert command.stop(signal.SIGINT) == 130


# -- tasks


def test_tasks_are_cancelled_by_id(instance: Instance, stuck: flamepy.Session) -> None:
    for _ in range(3):
        stuck.create_task(b"x")
    assert instance.run("task", "cancel", stuck.id, "1", "3").stdout == (
        "Task <1> was cancelled.\nTask <3> was cancelled.\n"
    )
    assert instance.run("task", "cancel", stuck.id, "3", "2").stdout == (
        "Task <3> had ended before.\nTask <2> was cancelled.\n"
    )
    assert instance.json("task", "cancel", stuck.id, "1", "2") == {"cancelled": []}
    assert instance.refusal("task", "cancel", stuck.id, "9").startswith(f"task 9 not found in session '{stuck.id}'")


def test_a_task_is_viewed_with_its_events(instance: Instance, stuck: flamepy.Session) -> None:
    stuck.create_task(b"two\nlines")
    stuck.cancel_task("1")
    told = instance.run("task", "view", stuck.id, "1").stdout
    assert lines(told)["Task"] == "1"
    assert lines(told)["Application"] == "never"
    assert lines(told)["State"] == "Cancelled"
    assert lines(told)["Input"] == r"two\nlines"
    assert re.search(r"^ +\d\d:\d\d:\d\d\.\d{3}: Task was cancelled \(17\)$", told, re.M)
    viewed = instance.json("task", "view", stuck.id, "1")
    assert (viewed["state"], viewed["application"], viewed["input"]) == ("cancelled", "never", "two\nlines")
    assert [event["code"] for event in viewed["events"]] == [0, 17]


def test_the_error_of_a_failed_task_is_viewed_line_by_line(instance: Instance, connection: flamepy.Connection) -> None:
    register_actor(connection)
    with connection.create_session(flamepy.SessionAttributes("actor")) as session:
        session.run(act("fail", "no \x1b[31m good"))
    told = instance.run("task", "view", session.id, "1").stdout.splitlines()
    connection.unregister_application("actor")
    assert told[-1] == " " * 13 + "    raise ValueError(text) (3)"
    assert any(line.endswith(r": ValueError: no \x1b[31m good") for line in told)


def test_a_task_is_watched_to_its_end(instance: Instance, stuck: flamepy.Session) -> None:
    stuck.create_task(b"x")
    with (
        Running(instance.env, "task", "watch", stuck.id, "1") as people,
        Running(instance.env, "task", "watch", stuck.id, "1", "--json") as program,
    ):
        assert re.fullmatch(r"Pending    [\d:.]+: Task was created with state <Pending> \(0\)", people.line())
        assert json.loads(program.line())["state"] == "pending"
        stuck.cancel_task("1")
        assert re.fullmatch(r"Cancelled  [\d:.]+: Task was cancelled \(17\)", people.line())
        assert json.loads(program.line())["state"] == "cancelled"
        assert people.end() == program.end() == (0, "")


def test_a_wide_list_of_tasks_has_what_happened_last(instance: Instance, stuck: flamepy.Session) -> None:
    stuck.create_task(b"x")
    header, row = instance.run("task", "list", stuck.id, "-o", "wide").stdout.splitlines()
    assert header.endswith("Last event")
    assert row.endswith("Task was created with state <Pending> (0)")


@pytest.mark.parametrize("arguments", ["cancel s", "cancel s one", "view s", "view s one", "watch s one"])
def test_misuse_of_tasks_exits_with_2(instance: Instance, arguments: str) -> None:
    assert instance.run("task", *arguments.split()).returncode == 2
