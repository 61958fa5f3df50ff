from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

import flamepy
from tests.conftest import SERVICES, SOURCE, act, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hearth.cli.commands import Instance

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def session(instance: Instance) -> Iterator[flamepy.Session]:
    """A session whose one instance has printed."""
    connection = flamepy.connect(instance.uri)
    if connection.get_application("actor") is None:
        attributes = {"command": sys.executable, "arguments": ["actor.py"], "working_directory": str(SERVICES)}
        connection.register_application("actor", attributes | {"environments": {"PYTHONPATH": str(SOURCE)}})
    session = connection.create_session(flamepy.SessionAttributes("actor", max_instances=1))
    session.invoke(act("print", "two\tparts\n\x1b[31mred", "complaint\n"))
    wait_until(lambda: session.logs()[0].stderr, "the output has arrived")
    yield session
    session.close()
    connection.close()


@pytest.mark.parametrize("command", [("session", "logs"), ("task", "logs")])
def test_logs_are_told_to_people_stream_by_stream(
    instance: Instance, session: flamepy.Session, command: tuple[str, str]
) -> None:
    told = instance.run(*command, session.id)
    assert (told.returncode, told.stderr) == (0, "")
    head, first, second, other_head, other = told.stdout.splitlines()
    executor = session.get_task("1").executor
    assert re.fullmatch(rf"==> {executor} stdout, started {TIME}, running <==", head)
    assert (first, second) == ("two     parts", r"\x1b[31mred")
    assert re.fullmatch(rf"==> {executor} stderr, started {TIME}, running <==", other_head)
    assert other == "complaint"


@pytest.mark.parametrize("command", [("session", "logs"), ("task", "logs")])
def test_logs_are_a_json_list_of_instances(
    instance: Instance, session: flamepy.Session, command: tuple[str, str]
) -> None:
    [log] = instance.json(*command, session.id)
    assert log.pop("executor") == session.get_task("1").executor
    assert log.pop("creation_time").endswith("Z")
    assert log == {
        "stdout": "two\tparts\n\x1b[31mred\n",
        "stderr": "complaint\n",
        "is_running": True,
        "is_truncated": False,
        "completion_time": None,
    }


def test_the_logs_of_a_task_are_those_of_its_instance(instance: Instance, session: flamepy.Session) -> None:
    assert instance.json("task", "logs", session.id, "1") == instance.json("session", "logs", session.id)
    executor = session.get_task("1").executor
    assert executor is not None
    assert instance.json("session", "logs", session.id, "--executor", executor)[0]["executor"] == executor


def test_unknown_ones_are_refused(instance: Instance, session: flamepy.Session) -> None:
    assert "task 7 not found" in instance.refusal("task", "logs", session.id, "7")
    assert "'seven' is not a number" in instance.refusal("task", "logs", session.id, "seven")
    assert "session 'none' not found" in instance.refusal("session", "logs", "none")
    assert "executor 'none'" in instance.refusal("session", "logs", session.id, "--executor", "none")


def test_where_nothing_was_printed_that_is_told(instance: Instance) -> None:
    connection = flamepy.connect(instance.uri)
    session = connection.create_session(flamepy.SessionAttributes("flmping"))
    told = instance.run("session", "logs", session.id)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr == "Nothing was printed, or it is no longer kept.\n"
    assert instance.json("session", "logs", session.id) == []
    session.close()
    connection.close()


def test_a_task_in_a_list_tells_its_instance(instance: Instance, session: flamepy.Session) -> None:
    [task] = instance.json("task", "list", session.id)
    assert task["executor"] == session.get_task("1").executor
