"""Which commands may be forked: Python programs of our own interpreter that would start as the fork server has."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from hearth.providers.python_command import interpreter_of

if TYPE_CHECKING:
    from pathlib import Path

BIN = os.path.dirname(sys.executable)
ENVIRONMENT = {"PATH": f"{BIN}:/bin", "HOME": "/home/somebody", "LANG": "C.UTF-8"}


def found(*command: str, **environment: str) -> str | None:
    return interpreter_of(command, ENVIRONMENT | environment, ENVIRONMENT)


@pytest.mark.parametrize("arguments", [["script.py"], ["script.py", "-x"], ["-m", "module"], ["-m", "a.b", "-x"]])
def test_scripts_and_modules_of_our_interpreter_may_be_forked(arguments: list[str]) -> None:
    assert found(sys.executable, *arguments) == sys.executable
    assert found("python3", *arguments) == f"{BIN}/python3"


@pytest.mark.parametrize(
    "arguments", [[], [""], ["-"], ["-m"], ["-mmodule"], ["-c", "pass"], ["-u", "script.py"], ["-I", "-m", "module"]]
)
def test_other_ways_to_start_an_interpreter_may_not(arguments: list[str]) -> None:
    assert found(sys.executable, *arguments) is None


@pytest.mark.parametrize("name", ["true", "/bin/true", "no-such-command", "/usr/bin/env", "./python3", "bin/python3"])
def test_other_programs_may_not(name: str) -> None:
    assert found(name, "script.py") is None


def test_an_interpreter_by_another_name_in_our_folder_may(tmp_path: Path) -> None:
    folder = tmp_path / "also-bin"
    folder.symlink_to(BIN)
    assert found(str(folder / "python3"), "script.py") == f"{folder}/python3"


def test_the_same_executable_in_another_folder_may_not(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)  # another virtual environment, or none
    assert found(str(tmp_path / "python3"), "script.py") is None
    assert found("python3", "script.py", PATH=f"{tmp_path}:{BIN}") is None


def test_a_program_that_takes_the_name_of_the_interpreter_may_not(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\n")
    (tmp_path / "python3").chmod(0o755)
    assert found("python3", "script.py", PATH=f"{tmp_path}:{BIN}") is None


AT_START = (
    "PYTHONHOME PYTHONHASHSEED PYTHONDEVMODE PYTHONWARNINGS PYTHONUNBUFFERED LD_PRELOAD LD_LIBRARY_PATH"
    " LC_ALL LANG TZ HOME MALLOC_ARENA_MAX GLIBC_TUNABLES COVERAGE_PROCESS_START"
)


@pytest.mark.parametrize("name", AT_START.split())
def test_what_counts_when_an_interpreter_starts_must_be_as_it_was(name: str) -> None:
    assert found("python3", "script.py", **{name: "1"}) is None
    without = {key: value for key, value in ENVIRONMENT.items() if key != name}
    assert interpreter_of(["python3", "script.py"], without, without | {name: "1"}) is None
    assert interpreter_of(["python3", "script.py"], without | {name: "1"}, without | {name: "1"}) is not None


@pytest.mark.parametrize("name", ["PYTHONPATH", "ANYTHING", "FLAME_ENDPOINT", "TMPDIR"])
def test_what_can_be_taken_over_later_may_differ(name: str) -> None:
    assert found("python3", "script.py", **{name: "different"}) == f"{BIN}/python3"
