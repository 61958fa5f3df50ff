# SPDX-License-Identifier: Apache-2.0
"""Running `hearth` as people do: as a process, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hearth.cli.main import main

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

HEARTH = [sys.executable, "-m", "hearth"]
_DEADLINE_S = 50.0


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Ours, but with nothing that names an instance, and with home and runtime folder in the given one."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FLAME_", "FLUX_"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        ours.pop(name, None)
    ours.update(
        HOME=str(folder), XDG_RUNTIME_DIR=str(folder), FLUX_LOCAL_CONNECTOR_RETRY_COUNT="0", HEARTH_SHIMS="host"
    )
    return ours | variables


def run(env: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*HEARTH, *arguments], env=env, input=stdin, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )


def all_commands() -> dict[str, str]:
    """Every command there is, nouns too, with the first line of its help."""
    return dict(_below(main, ()))


def _below(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), (command.help or "").splitlines()[0]
        if isinstance(command, click.Group):
            yield from _below(command, (*path, name))


class Running:
    """A command that goes on; killed at the end of the block if it has not ended."""

    def __init__(self, env: dict[str, str], *arguments: str, **options: Any) -> None:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process: subprocess.Popen[str] = subprocess.Popen([*HEARTH, *arguments], env=env, **(pipes | options))

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.process:  # closes the pipes, waits
            self.process.kill()

    def line(self) -> str:
        """The next line on stdout, without its end; empty at the end of it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def stop(self, signum: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(signum)
        return self.process.wait(_DEADLINE_S)

    def end(self) -> tuple[int, str]:
        """Wait for the end: exit code and stderr."""
        _, stderr = self.process.communicate(timeout=_DEADLINE_S)
        return self.process.returncode, stderr


@dataclass(frozen=True)
class Instance:
    """A running instance, and the environment in which commands find it."""

    uri: str
    env: dict[str, str]
    command: Running

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command that talks to it."""
        return run(self.env, *arguments, stdin=stdin)

    def json(self, *arguments: str) -> Any:
        """What a command that succeeds says with --json."""
        told = self.run(*arguments, "--json")
        assert (told.returncode, told.stderr) == (0, "")
        return json.loads(told.stdout)

    def refusal(self, *arguments: str, stdin: str = "") -> str:
        """The one line on stderr of a command that fails."""
        told = self.run(*arguments, stdin=stdin)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith("Error: ")
        assert told.stderr.count("\n") == 1
        return told.stderr.removeprefix("Error: ").rstrip("\n")
