"""`hearth completion`: the words of a command line are completed, by the shell that runs the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.hearth.cli.commands import environment, run

if TYPE_CHECKING:
    from pathlib import Path

STARTED = 'from hearth.cli.main import main; main(prog_name="hearth")'
COMPLETE = """
eval "$(hearth completion bash)"
COMP_WORDS=({words}) COMP_CWORD={last}
_hearth_completion hearth
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    tools = folder / "bin"
    tools.mkdir()
    (tools / "hearth").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c \'{STARTED}\' "$@"\n')
    (tools / "hearth").chmod(0o755)
    env = environment(folder) | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    script = COMPLETE.format(words=" ".join(words), last=len(words) - 1)
    ran = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_verbs(folder: Path) -> None:
    assert completed(folder, "hearth", "app", "up") == ["update"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_options(folder: Path) -> None:
    assert completed(folder, "hearth", "session", "close", "--dr") == ["--drain"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(folder: Path, shell: str) -> None:
    told = run(environment(folder), "completion", shell)
    assert (told.returncode, told.stderr) == (0, "")
    assert f"_HEARTH_COMPLETE={shell}_complete" in told.stdout


def test_another_shell_is_misuse(folder: Path) -> None:
    told = run(environment(folder), "completion", "csh")
    assert told.returncode == 2
    assert "'bash', 'zsh', 'fish'" in told.stderr
