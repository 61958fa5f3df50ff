# SPDX-License-Identifier: Apache-2.0
"""Running `hearth` as people do: as a process, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
    from pathlib import Path
    from types import TracebackType

HEARTH = [sys.executable, "-m", "hearth"]
_DEADLINE_S = 50.0


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Ours, but with nothing that names an instance, and with home and runtime folder in the given one."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FLAME_", "FLUX_"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        ours.pop(name, None)
    ours.update(HOME=str(folder), XDG_RUNTIME_DIR=str(folder), FLUX_LOCAL_CONNECTOR_RETRY_COUNT="0")
    return ours | variables


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*HEARTH, *arguments], env=env, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )


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

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to it."""
        return run(self.env, *arguments)
