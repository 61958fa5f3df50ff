from __future__ import annotations

import base64
import json
import os
import pty
import re
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

import flamepy
from hearth import __version__
from tests.hearth.cli.commands import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hearth.cli.commands import Instance

ISO_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def session(instance: Instance) -> Iterator[flamepy.Session]:
    connection = flamepy.connect(instance.uri)
    session = connection.create_session(
        flamepy.SessionAttributes("flmping", resreq=flamepy.ResourceRequirement(cpu=1, memory=1 << 29))
    )
    yield session
    session.close()
    connection.close()


def _rows(text: str) -> list[list[str]]:
    """The cells of each line below the header; columns are two blanks or more apart."""
    return [re.split(r"  +", line.strip()) for line in text.splitlines()[1:]]


def test_status_is_told_to_people(instance: Instance) -> None:
    told = instance.run("status")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0] == f"Instance      {instance.uri}"
    values = {row[0]: row[1] for row in _rows(told.stdout)}
    assert values["PID"] == str(instance.command.process.pid)
    assert values["Version"] == __version__
    assert re.fullmatch(r"cpu=\d+,mem=[\d.]+[KMGT]i,gpu=\d+", values["Capacity"])
    assert re.fullmatch(r"\d+ open, \d+ closed", values["Sessions"])


def test_status_is_one_json_object(instance: Instance) -> None:
    told = json.loads(instance.run("status", "--json").stdout)
    assert told["uri"] == instance.uri
    assert told["pid"] == instance.command.process.pid
    assert told["connections"] == 1
    assert told["capacity"]["cpu"] >= told["free"]["cpu"] >= 0


def test_applications_are_a_table(instance: Instance) -> None:
    told = instance.run("app", "list")
    assert told.stdout.split()[:6] == ["Name", "State", "Shim", "Tags", "Created", "Command"]
    rows = _rows(told.stdout)
    assert [row[0] for row in rows] == ["flmexec", "flmping", "flmrun"]
    row = rows[1]
    assert row[:4] == ["flmping", "Enabled", "Host", "-"]
    assert row[5].endswith(" -m hearth.apps.flmping")


def test_applications_are_a_json_list(instance: Instance) -> None:
    _, application, _ = json.loads(instance.run("app", "list", "--json").stdout)
    assert (application["name"], application["state"], application["shim"]) == ("flmping", "enabled", "host")
    assert application["arguments"] == ["-m", "hearth.apps.flmping"]
    assert ISO_UTC.fullmatch(application["creation_time"])


def test_sessions_are_a_table_with_open_ones_first(instance: Instance, session: flamepy.Session) -> None:
    session.connection.create_session(flamepy.SessionAttributes("flmping")).close()
    session.invoke(b"")
    rows = _rows(instance.run("session", "list").stdout)
    assert rows[0][:10] == [session.id, "Open", "flmping", "cpu=1,mem=512Mi,gpu=0", "0", "0", "0", "1", "0", "0"]
    assert re.fullmatch(DATE, rows[0][10])
    assert {row[1] for row in rows[1:]} == {"Closed"}


def test_sessions_are_a_json_list(instance: Instance, session: flamepy.Session) -> None:
    session.invoke(b"")
    (mine,) = (
        told for told in json.loads(instance.run("session", "list", "--json").stdout) if told["id"] == session.id
    )
    assert (mine["state"], mine["application"], mine["succeed"]) == ("open", "flmping", 1)
    assert mine["resreq"] == {"cpu": 1, "memory": 1 << 29, "gpu": 0}
    assert ISO_UTC.fullmatch(mine["creation_time"])
    assert mine["completion_time"] is None


def test_nodes_are_a_table(instance: Instance) -> None:
    told = instance.run("node", "list")
    assert told.stdout.split()[:8] == ["Name", "Hostname", "Status", "CPU", "Memory", "GPU", "Arch", "OS"]
    (row,) = _rows(told.stdout)
    host = socket.gethostname()
    assert row[:4] == [host, host, "Ready", str(len(os.sched_getaffinity(0)))]
    assert re.fullmatch(r"[\d.]+[KMGT]i", row[4])
    assert row[6:] == [os.uname().machine, "linux"]


def test_nodes_are_a_json_list_and_one_is_an_object(instance: Instance) -> None:
    (node,) = instance.json("node", "list")
    assert (node["name"], node["state"], node["os"]) == (socket.gethostname(), "ready", "linux")
    assert node["capacity"] == node["allocatable"]
    assert ISO_UTC.fullmatch(node["last_heartbeat_time"])
    viewed = instance.json("node", "view", node["name"])
    assert viewed | {"last_heartbeat_time": None} == node | {"last_heartbeat_time": None}


def test_one_node_is_told_line_by_line(instance: Instance) -> None:
    told = instance.run("node", "view", socket.gethostname())
    assert told.stdout.splitlines()[0] == f"Name         {socket.gethostname()}"
    values = {row[0]: row[1] for row in _rows(told.stdout)}
    assert values["Status"] == "Ready"
    assert re.fullmatch(r"cpu=\d+,mem=[\d.]+[KMGT]i,gpu=\d+", values["Capacity"])
    assert values["OS"] == "linux"


def test_an_unknown_node_is_an_error(instance: Instance) -> None:
    assert instance.refusal("node", "view", "nobody") == "node 'nobody' not found; list them with: hearth node list"


def test_executors_are_a_table(instance: Instance, session: flamepy.Session) -> None:
    session.invoke(b"")
    told = instance.run("executor", "list")
    assert told.stdout.split()[:7] == ["ID", "State", "Session", "Node", "App", "PID", "Running"]
    (row,) = [row for row in _rows(told.stdout) if row[2] == session.id]
    assert [row[1], *row[3:5], row[6]] == ["Bound", socket.gethostname(), "flmping", "0"]
    assert instance.command.process.pid in {parent.pid for parent in psutil.Process(int(row[5])).parents()}


def test_executors_are_a_json_list(instance: Instance, session: flamepy.Session) -> None:
    session.invoke(b"")
    (mine,) = [told for told in instance.json("executor", "list") if told["session_id"] == session.id]
    assert (mine["state"], mine["application"], mine["shim"], mine["running"]) == ("bound", "flmping", "host", 0)
    assert mine["resreq"] == {"cpu": 1, "memory": 1 << 29, "gpu": 0}
    assert mine["node"] == socket.gethostname()


def test_tasks_are_a_table_of_one_line_each(instance: Instance, session: flamepy.Session) -> None:
    session.invoke(b"two\nlines \x1b[31m")
    session.invoke(b"\xff\xfe")
    told = instance.run("task", "list", session.id)
    assert told.stdout.split()[:6] == ["ID", "State", "Created", "Completed", "Input", "Output"]
    first, second = _rows(told.stdout)
    assert first[:2] == ["1", "Succeed"]
    assert first[4] == r"two\nlines \x1b[31m"
    assert first[5].startswith('{"message":"Completed on <')
    assert second[4] == "<2 bytes>"


def test_tasks_are_a_json_list_with_whole_inputs_and_outputs(instance: Instance, session: flamepy.Session) -> None:
    session.invoke(b"two\nlines")
    session.invoke(b"\xff\xfe")
    text, binary = json.loads(instance.run("task", "list", session.id, "--json").stdout)
    assert (text["id"], text["session_id"], text["state"]) == ("1", session.id, "succeed")
    assert text["input"] == "two\nlines"
    assert json.loads(text["output"])["message"].startswith("Completed on <")
    assert ISO_UTC.fullmatch(text["completion_time"])
    assert [event["code"] for event in text["events"]] == [0, 1, 2]
    assert base64.b64decode(binary["input"]["base64"]) == b"\xff\xfe"


def test_a_session_without_tasks_is_an_empty_list(instance: Instance, session: flamepy.Session) -> None:
    assert instance.run("task", "list", session.id, "--json").stdout == "[]\n"
    assert _rows(instance.run("task", "list", session.id).stdout) == []


def test_more_tasks_than_a_page_are_listed_in_order(instance: Instance, session: flamepy.Session) -> None:
    for future in [session.run(b"") for _ in range(1201)]:
        future.result()
    ids = [task["id"] for task in json.loads(instance.run("task", "list", session.id, "--json").stdout)]
    assert ids == [str(number) for number in range(1, 1202)]
    assert [row[0] for row in _rows(instance.run("task", "list", session.id).stdout)] == ids


def test_who_has_read_enough_gets_no_error(instance: Instance, session: flamepy.Session) -> None:
    for future in [session.run(b"x" * 50) for _ in range(5000)]:
        future.result()
    with Running(instance.env, "task", "list", session.id) as command:
        assert command.line().split()[0] == "ID"
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.stderr is not None
        assert command.process.stderr.read() == ""
        assert command.process.wait() == 0


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_an_unknown_session_is_an_error(instance: Instance, options: list[str]) -> None:
    told = instance.run("task", "list", "nobody", *options)
    assert (told.returncode, told.stdout, told.stderr) == (
        1,
        "",
        "Error: session 'nobody' not found; list them with: hearth session list\n",
    )


def test_a_session_that_is_no_text_is_misuse(instance: Instance) -> None:
    told = instance.run("task", "list", "\udcff")
    assert told.returncode == 2
    assert told.stderr.endswith(r"Error: '\udcff' is no UTF-8 text" + "\n")


def _on_terminal(env: dict[str, str], *arguments: str) -> str:
    """What a command writes to a terminal of 20 columns."""
    ours, theirs = pty.openpty()
    try:
        with Running(env | {"TERM": "xterm", "COLUMNS": "20"}, *arguments, stdout=theirs) as command:
            os.close(theirs)
            written = b""
            try:
                while data := os.read(ours, 4096):
                    written += data
            except OSError:  # EIO: the last writer is gone
                pass
            assert command.end() == (0, "")
    finally:
        os.close(ours)
    return written.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_uncut_lines(instance: Instance, session: flamepy.Session) -> None:
    shown = _on_terminal(instance.env, "session", "list")
    assert re.search(rf"^{session.id}  \x1b\[32mOpen *\x1b\[0m  flmping  ", shown, re.MULTILINE)


def test_no_color_is_honoured(instance: Instance, session: flamepy.Session) -> None:
    shown = _on_terminal(instance.env | {"NO_COLOR": "1"}, "session", "list")
    assert session.id in shown
    assert "\x1b" not in shown
