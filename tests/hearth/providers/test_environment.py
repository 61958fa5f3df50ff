"""The environment of an executor's process; after §3.3 of the Flame specification."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flamepy import ApplicationAttributes
from hearth.providers.environment import process_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

URI = "local:///run/hearth/local-0"


def environment(inherited: Mapping[str, str], **environments: str) -> dict[str, str]:
    return process_environment(
        inherited,
        ApplicationAttributes(environments=environments),
        executor_id="executor-1",
        uri=URI,
        temporary=Path("/run/hearth/executors/executor-1"),
    )


def test_it_tells_where_the_instance_is_and_which_executor_this_is() -> None:
    found = environment({"FLAME_ENDPOINT": "elsewhere"}, FLUX_URI="elsewhere")
    assert {found[name] for name in ("FLAME_ENDPOINT", "FLUX_URI", "FLAME_INSTANCE_ENDPOINT")} == {URI}
    assert found["FLAME_EXECUTOR_ID"] == "executor-1"


@pytest.mark.parametrize("name", ["TMPDIR", "TEMP", "TMP"])
def test_temporary_files_go_to_the_executor_s_own_folder(name: str) -> None:
    assert environment({name: "/tmp"})[name] == "/run/hearth/executors/executor-1"


@pytest.mark.parametrize("name", ["HOME", "FLAME_CA_FILE", "ANYTHING"])
def test_what_the_daemon_has_is_passed_on_and_what_it_has_not_is_not_invented(name: str) -> None:
    assert environment({name: "as it is"})[name] == "as it is"
    assert name not in environment({})


@pytest.mark.parametrize(
    ("inherited", "own", "rust_log", "flame_log"),
    [
        ({}, {}, "info", "info"),
        ({"RUST_LOG": "debug"}, {}, "debug", "debug"),
        ({"RUST_LOG": "debug", "FLAME_LOG": "error"}, {}, "debug", "error"),
        ({"RUST_LOG": "debug"}, {"FLAME_LOG": "warning"}, "debug", "warning"),
        ({}, {"RUST_LOG": "trace"}, "trace", "trace"),
    ],
)
def test_the_level_of_logs_is_info_unless_somebody_says_otherwise(
    inherited: dict[str, str], own: dict[str, str], rust_log: str, flame_log: str
) -> None:
    found = environment(inherited, **own)
    assert (found["RUST_LOG"], found["FLAME_LOG"]) == (rust_log, flame_log)


def test_python_does_not_hold_back_what_is_printed_unless_the_application_says_so() -> None:
    assert environment({})["PYTHONUNBUFFERED"] == "1"
    assert environment({}, PYTHONUNBUFFERED="")["PYTHONUNBUFFERED"] == ""
    assert environment({"PYTHONUNBUFFERED": ""})["PYTHONUNBUFFERED"] == ""


def test_the_daemon_s_interpreter_comes_first_on_the_path() -> None:
    own = os.path.dirname(sys.executable)
    assert environment({"PATH": "/bin"})["PATH"] == f"{own}{os.pathsep}/bin"


def test_values_of_the_application_are_expanded_from_the_daemon_s_environment() -> None:
    found = environment({"A": "a"}, B="$A-${A}-$C", C="c")
    assert found["B"] == "a-a-$C"
