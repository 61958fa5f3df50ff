from __future__ import annotations

import json
import os
import pty
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.hearth.cli.commands import Running, environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hearth.cli.commands import Instance


def test_each_task_is_told(instance: Instance) -> None:
    told = instance.run("ping", "-t", "3", "-d", "1", "-m", "7")
    assert (told.returncode, told.stderr) == (0, "")
    first, _, header, *tasks, _, last = told.stdout.splitlines()
    match = re.fullmatch(r"Session <(\S+)> was created in <\d+ ms>, start to run <3> tasks in the session:", first)
    assert match is not None
    assert header.split() == ["Session", "Task", "State", "Output"]
    for number, line in enumerate(tasks, start=1):
        session, task, state, output = re.split(r"  +", line)
        assert (session, task, state) == (match[1], str(number), "Succeed")
        assert re.fullmatch(r"Completed on <\S+> in <1> milliseconds with <7> memory", output)
    assert re.fullmatch(r"<3> tasks was completed in <\d+ ms>\.", last)


def test_ten_tasks_are_run_unless_told_otherwise(instance: Instance) -> None:
    assert "start to run <10> tasks" in instance.run("ping").stdout


def test_performance_is_told_as_a_throughput(instance: Instance) -> None:
    told = instance.run("ping", "-p", "-t", "5000")
    assert told.returncode == 0
    title, *lines = told.stdout.splitlines()
    assert title == "BENCHMARK RESULTS"
    values = dict(re.split(r": +", line.strip(), maxsplit=1) for line in lines)
    assert re.fullmatch(r"\d+\.\d+ s", values["Duration"])
    assert values["Succeeded"] == "5000/5000"
    assert values["Failed"] == "0"
    assert re.fullmatch(r"\d+\.\d tasks/sec", values["Throughput"])


def test_the_summary_is_one_json_object(instance: Instance) -> None:
    told = json.loads(instance.run("ping", "--tasks", "20", "--json").stdout)
    assert (told["tasks"], told["succeeded"], told["failed"]) == (20, 20, 0)
    assert told["tasks_per_second"] == pytest.approx(20 / told["duration_s"])
    sessions = json.loads(instance.run("session", "list", "--json").stdout)
    assert {session["id"]: session["state"] for session in sessions}[told["session_id"]] == "closed"


def test_a_failed_task_makes_the_command_fail(instance: Instance) -> None:
    told = instance.run("ping", "-t", "2", "-m", str(10**15))
    assert told.returncode == 1
    assert told.stdout.count("  Failed  ") == 2
    assert told.stderr.startswith("Error: 2 of 2 tasks did not succeed; task 1: ")


def test_the_instances_of_the_session_get_what_was_asked_for(instance: Instance) -> None:
    session_id = json.loads(instance.run("ping", "-r", "cpu=1,mem=256m", "--json").stdout)["session_id"]
    sessions = {session["id"]: session for session in json.loads(instance.run("session", "list", "--json").stdout)}
    assert sessions[session_id]["resreq"] == {"cpu": 1, "memory": 256 << 20, "gpu": 0}


@pytest.mark.parametrize("option", ["--tasks=0", "--duration=-1", "--memory=x", "--resreq=cpu=many"])
def test_misuse_exits_with_2(instance: Instance, option: str) -> None:
    assert instance.run("ping", option).returncode == 2


@pytest.mark.parametrize("runtime", ["", "gone"], ids=["a runtime folder", "no runtime folder"])
def test_where_no_instance_is_running_a_private_one_is_used_and_ended(folder: Path, runtime: str) -> None:
    env = environment(folder, TMPDIR=str(folder)) | {"XDG_RUNTIME_DIR": str(folder / runtime)}
    assert json.loads(run(env, "ping", "--json").stdout)["succeeded"] == 10
    assert list(folder.iterdir()) == []


def test_an_interrupt_exits_with_130(instance: Instance) -> None:
    with Running(instance.env, "ping", "--tasks", "1000", "--duration", "200") as command:
        assert command.line().startswith("Session <")
        assert command.stop(signal.SIGINT) == 130


def test_a_terminal_shows_progress_on_stderr_only(instance: Instance) -> None:
    ours, theirs = pty.openpty()
    try:
        with Running(instance.env | {"TERM": "xterm"}, "ping", "--json", stderr=theirs) as command:
            os.close(theirs)
            assert json.loads(command.line())["succeeded"] == 10
            assert b"Running tasks" in os.read(ours, 65536)
            assert command.process.wait() == 0
    finally:
        os.close(ours)
