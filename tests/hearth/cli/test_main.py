from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hearth import __version__
from hearth.cli.main import main
from tests.hearth.cli.commands import HEARTH, all_commands, environment, run

NOUNS = [
    "app",
    "attr",
    "completion",
    "config",
    "connection",
    "event",
    "executor",
    "kvs",
    "log",
    "node",
    "ping",
    "service",
    "session",
    "status",
    "task",
    "up",
]
MISUSES = [
    line.split()
    for line in (
        "attr get",
        "attr set name",
        "event pub",
        "event pub topic {no-json",
        "event pub topic [1,",
        "log append",
        "log append --level loud text",
        "log show --level 7",
        "service ping",
        "service ping broker --batch",
        "service ping broker --batch -c 2 -i 1",
        "service ping broker -c 0",
        "service ping broker -i -1",
        "connection list --watch 0",
        "connection list --watch nan",
        "connection list --watch inf",
        "session list --watch nan",
        "session list --watch 1e10",
        "service ping broker -i nan",
        "ping --priority -1",
    )
]
COMMANDS = [[], *map(str.split, all_commands())]


def test_the_version_is_told(folder: Path) -> None:
    told = run(environment(folder), "--version")
    assert (told.returncode, told.stdout) == (0, f"hearth, version {__version__}\n")


def test_help_lists_the_nouns(folder: Path) -> None:
    told = run(environment(folder), "--help")
    assert told.returncode == 0
    listed = told.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\S+)", listed, re.M) == NOUNS  # a long text goes on in a line further in


@pytest.mark.parametrize("noun", NOUNS)
def test_help_tells_of_each_noun_what_the_noun_tells_itself(noun: str) -> None:
    context = click.Context(main)
    formatter = click.HelpFormatter(width=200)
    main.format_commands(context, formatter)
    command = main.get_command(context, noun)
    assert command is not None
    assert f"  {noun}".ljust(14) + f"{(command.help or '').splitlines()[0]}\n" in formatter.getvalue()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_help_has_an_example(command: list[str]) -> None:
    told = CliRunner().invoke(main, [*command, "--help"])
    assert told.exit_code == 0
    assert f"Example: hearth {' '.join(command)}".rstrip() in told.stdout


@pytest.mark.parametrize("command", [line for line in all_commands() if " " in line])
def test_each_command_below_a_noun_speaks_json(command: str) -> None:
    assert "--json" in CliRunner().invoke(main, [*command.split(), "--help"]).stdout


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["status", "--frobnicate"], ["task", "list"], *MISUSES], ids=" ".join
)
def test_misuse_exits_with_2(folder: Path, arguments: list[str]) -> None:
    assert run(environment(folder), *arguments).returncode == 2


def test_help_loads_neither_the_sdk_nor_the_daemon(folder: Path) -> None:
    code = "import sys; from hearth.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], env=environment(folder), capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"flamepy", "flux", "asyncio", "rich", "msgspec"} & set(modules)


@pytest.mark.parametrize("noun", ["attr", "config", "connection", "event", "log", "service"])
def test_the_message_plane_needs_no_sdk(noun: str, folder: Path) -> None:
    code = f"import sys; import hearth.cli.{noun}; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], env=environment(folder), capture_output=True, text=True, check=True
    ).stdout.split()
    assert "flux" in modules
    assert not {"flamepy", "asyncio", "rich", "psutil"} & set(modules)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_nobody_who_reads_the_help_is_no_failure(folder: Path, option: str) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        told = subprocess.run(
            [*HEARTH, option], env=environment(folder), stdout=write, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write)
    assert (told.returncode, told.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_one_line(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        told = subprocess.run(
            [*HEARTH, "ping", "-t", "1"], env=environment(folder), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (told.returncode, told.stderr) == (1, b"Error: No space left on device\n")
