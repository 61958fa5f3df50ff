# SPDX-License-Identifier: Apache-2.0
"""One process of an executor, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Child", "ProcessSpec", "could_not_start", "describe"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What is to run: name is for the log; stdout and stderr are descriptors, which stay the caller's."""

    name: str
    command: list[str]
    environment: dict[str, str]
    folder: str
    stdout: int
    stderr: int


class Child:
    """A process in a session and a group of its own, started by executing its command.

    on_ended is called once, with what completes the sentence "the process …". Its end is noticed at once,
    through a pidfd.
    """

    def __init__(self, spec: ProcessSpec, on_ended: Callable[[str], None]) -> None:
        """Start it. Raises OSError if it cannot be."""
        self.pid: int | None = None
        """None while it is not there: before it has started, and after its end."""
        self._name = spec.name
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._popen: subprocess.Popen[bytes] | None = None
        self._start(spec)

    def _start(self, spec: ProcessSpec) -> None:
        self._execute(spec)

    def _execute(self, spec: ProcessSpec) -> None:
        popen = subprocess.Popen(
            spec.command,
            env=spec.environment,
            cwd=spec.folder,
            stdin=subprocess.DEVNULL,
            stdout=spec.stdout,
            stderr=spec.stderr,
            start_new_session=True,
        )
        try:
            self._watch(popen.pid)
        except OSError:
            popen.kill()
            popen.wait()
            raise
        self._popen = popen
        log.info("executor %s started: pid %d, %s", self._name, popen.pid, spec.command)

    def _watch(self, pid: int) -> None:
        """Raises OSError if we are out of descriptors: a process that cannot be watched must not run."""
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid
        self._loop.add_reader(self._pidfd, self._gone)

    def kill(self) -> None:
        """End it now, with all that it has started and left in its group."""
        if self.pid is not None and self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # a fork may not have made its group yet
            self._kill_group(self.pid)

    def _gone(self) -> None:
        assert self.pid is not None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._kill_group(self.pid)  # what it left behind; not later, when the number may be somebody else's
        self._reap(self.pid)

    def _kill_group(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def _reap(self, pid: int) -> None:
        """Find out its status, which may take a moment, and tell."""
        assert self._popen is not None
        self._tell(describe(self._popen.wait()))

    def _tell(self, how: str) -> None:
        log.info("executor %s (pid %s) %s", self._name, self.pid, how)
        self.pid = None
        self._on_ended(how)


def describe(status: int) -> str:
    """How a process ended, by its exit status or, negative, its signal."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"


def could_not_start(error: OSError) -> str:
    """Why there is no process."""
    what = f": {error.filename!r}" if error.filename else ""
    return f"could not be started: {error.strerror or error}{what}"
