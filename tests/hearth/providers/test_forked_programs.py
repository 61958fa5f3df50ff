"""A program that is forked finds everything as if it had been executed, and ends in the same way."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from tests.conftest import SERVICES, SOURCE
from tests.hearth.providers.programs import WORLD, both_ways, open_executors, run

if TYPE_CHECKING:
    from pathlib import Path

BESIDE = str(SERVICES)


@pytest.mark.parametrize(
    "attributes",
    [
        {"command": "python3", "arguments": [WORLD]},
        {"command": "python3", "arguments": [WORLD, "-m", "", "ü", "two words"]},
        {"command": sys.executable, "arguments": ["world.py"], "working_directory": BESIDE},
        {"command": sys.executable, "arguments": ["./world.py"], "working_directory": BESIDE},
        {"command": sys.executable, "arguments": ["../services/world.py"], "working_directory": BESIDE},
        {"command": sys.executable, "arguments": ["-m", "world", "-x"], "working_directory": BESIDE},
        {"command": sys.executable, "arguments": ["-m", "world"], "environments": {"PYTHONPATH": BESIDE}},
        {"command": "${ANY}", "arguments": ["${FILE}"], "environments": {"ANY": "python3", "FILE": WORLD}},
        {
            "command": "python3",
            "arguments": [WORLD],
            "environments": {"PYTHONPATH": f"{BESIDE}:relative::{BESIDE}/:/no/such/folder", "SOME": "thing"},
        },
    ],
)
def test_a_forked_program_finds_the_same_world(tmp_path: Path, attributes: dict[str, Any]) -> None:
    executed, forked = (outcome.world() for outcome in both_ways(tmp_path, **attributes))
    assert (executed.pop("is_forked"), forked.pop("is_forked")) == (False, True)
    assert forked == executed


def test_a_link_to_a_script_finds_the_same_world(tmp_path: Path) -> None:
    (tmp_path / "link.py").symlink_to(WORLD)
    executed, forked = (
        outcome.world() for outcome in both_ways(tmp_path, command="python3", arguments=[str(tmp_path / "link.py")])
    )
    assert (executed.pop("is_forked"), forked.pop("is_forked")) == (False, True)
    assert forked == executed
    assert forked["path"][0] == BESIDE


def test_bytes_that_are_no_text_arrive_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", os.fsdecode(b"\xff\xfe"))
    executed, forked = (
        outcome.world() for outcome in both_ways(tmp_path, command="python3", arguments=[WORLD, "$ODD"])
    )
    assert forked["argv"] == executed["argv"] == [WORLD, os.fsdecode(b"\xff\xfe")]
    assert forked["environment"] == executed["environment"]


ENDS = {
    "well": "print('out')",
    "status": "import sys; sys.exit(7)",
    "text": "import sys; sys.exit('no more')",
    "at-once": "import os; os._exit(9)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT)\nwhile True: pass",
    "raised": "def f():\n    raise ValueError('what')\n\nf()",
    "chained": "try:\n    {}[1]\nexcept KeyError as error:\n    raise ValueError from error",
    "no-python": "this is no Python",
    "no-text": "text = '\\xff'",
    "hook": "import sys\nsys.excepthook = lambda *error: print(error[0], error[2].tb_lineno)\n1 / 0",
    "at-last": "import atexit, threading\natexit.register(print, 'exit')\nthreading.Timer(0.01, print, 't').start()",
    "thread": "import threading\ndef f(): raise ValueError('there')\nthreading.Thread(target=f, name='T').start()",
    "broken-pipe": "import os\nr, w = os.pipe()\nos.close(r)\nos.write(w, b'x')",
}


@pytest.mark.parametrize("name", ENDS)
def test_a_forked_program_ends_in_the_same_way(tmp_path: Path, name: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(ENDS[name], encoding="latin-1")
    executed, forked = both_ways(tmp_path, command="python3", arguments=[str(script)])
    assert forked == executed


@pytest.mark.parametrize("arguments", [["missing.py"], ["-m", "missing"], ["."], ["-c", "print(1)"], []])
def test_what_is_no_program_is_told_in_the_same_words(tmp_path: Path, arguments: list[str]) -> None:
    executed, forked = both_ways(tmp_path, command="python3", arguments=arguments)
    assert forked == executed


def test_a_folder_with_a_main_module_is_a_program(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text("import sys; print(sys.argv[0], __name__, __spec__.name)")
    executed, forked = both_ways(tmp_path, command="python3", arguments=[str(tmp_path / "folder")])
    assert forked == executed
    assert executed.stdout == f"{tmp_path}/folder __main__ __main__\n".encode()


def test_a_working_directory_that_is_missing_is_told_by_its_name(tmp_path: Path) -> None:
    async def refusal() -> str:
        async with open_executors(tmp_path) as executors:
            executors.launch(
                flamepy.ApplicationAttributes(
                    command="python3", arguments=[WORLD], working_directory=str(tmp_path / "none")
                )
            )
            return await asyncio.wait_for(executors._ends["executor"], 10)

    assert asyncio.run(refusal()) == f"could not be started: No such file or directory: '{tmp_path}/none'"


# -- modules


@pytest.mark.parametrize("module", ["flamepy", "msgspec", "socket", "hearth"])
@pytest.mark.parametrize("place", ["beside the script", "on PYTHONPATH"])
def test_a_module_of_the_user_wins_over_a_loaded_one_of_its_name(tmp_path: Path, module: str, place: str) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / f"{module}.py").write_text("mine = True")
    script = (modules if place == "beside the script" else tmp_path) / "program.py"
    script.write_text(f"import {module}; print({module}.mine)")
    environments = {"PYTHONPATH": str(modules)} if place == "on PYTHONPATH" else {}
    outcome = run(tmp_path, is_forking=True, command="python3", arguments=[str(script)], environments=environments)
    assert outcome.stdout == b"True\n", outcome.stderr.decode()


def test_a_checkout_of_the_sdk_in_front_of_ours_wins(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "flamepy", tmp_path / "flamepy")
    (tmp_path / "other").mkdir()
    script = tmp_path / "other" / "program.py"
    script.write_text("import flamepy; print(flamepy.__file__)")
    for search in (f"{tmp_path}:{SOURCE}", f"{SOURCE}:{tmp_path}"):
        executed, forked = both_ways(
            tmp_path, command="python3", arguments=[str(script)], environments={"PYTHONPATH": search}
        )
        assert forked == executed
        assert forked.stdout.decode().startswith(search.partition(":")[0])


def test_a_customization_of_the_site_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.customized = 1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "program.py").write_text("print(customized)")
    outcome = run(
        tmp_path,
        is_forking=True,
        command="python3",
        arguments=[str(tmp_path / "other" / "program.py")],
        environments={"PYTHONPATH": str(tmp_path)},
    )
    assert outcome.stdout == b"1\n", outcome.stderr.decode()


def test_a_module_that_was_changed_since_it_was_loaded_is_loaded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("flamepy", "flux", "hearth"):
        shutil.copytree(SOURCE / package, tmp_path / package)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "other").mkdir()
    script = tmp_path / "other" / "program.py"
    script.write_text(
        "import sys, flamepy; print('hearth.zygote' in sys.modules, flamepy.__file__, flamepy.__version__)"
    )

    async def run_before_and_after() -> list[bytes]:
        async with open_executors(tmp_path) as executors:
            told = []
            for name in ("before", "after"):
                executors.launch(flamepy.ApplicationAttributes(command="python3", arguments=[str(script)]), name)
                told.append((await executors.end(name)).stdout)
                with (tmp_path / "flamepy" / "__init__.py").open("a") as file:
                    file.write("__version__ = 'changed'\n")
            return told

    here = f"{tmp_path}/flamepy/__init__.py"
    assert asyncio.run(run_before_and_after()) == [
        f"True {here} {flamepy.__version__}\n".encode(),
        f"False {here} changed\n".encode(),
    ]


def test_each_forked_program_has_random_numbers_of_its_own(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text("import random, os; print(random.random())")

    async def numbers() -> set[bytes]:
        async with open_executors(tmp_path) as executors:
            told = set()
            for name in ("one", "two", "three"):
                executors.launch(flamepy.ApplicationAttributes(command="python3", arguments=[str(script)]), name)
                told.add((await executors.end(name)).stdout)
            return told

    assert len(asyncio.run(numbers())) == 3
