# SPDX-License-Identifier: Apache-2.0
"""A private instance for a program that has none: a daemon process of its own, gone when the program is.

The daemon watches its owner and ends with it, however it ends. It is a process, not a thread, so that
tasks never wait for the program's own work, and the program may fork.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flamepy.core.python_path import with_absolute_python_path
from flamepy.core.types import FlameError, FlameErrorCode

__all__ = ["Embedded"]

_START_S = 20.0
_STOP_S = 10.0
_TOLD_BYTES = 4000


class Embedded:
    """One private daemon. uri is its address."""

    def __init__(self) -> None:
        """Start it and wait until it serves. Raises FlameError INVALID_CONFIG with its last words if it does not."""
        self._owner = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="hearth-", dir=_runtime_folder()))
        self._log = self._folder / "hearth.log"
        command = [sys.executable, "-m", "hearth", "up", "--rundir", str(self._folder), "--owner", str(self._owner)]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self._folder,  # not ours: -m would take the program's random.py for the module
                    env=with_absolute_python_path(os.environ),
                    start_new_session=True,  # Ctrl-C is for the program; it closes its sessions and we end with it
                )
            self.uri = self._wait_until_ready()
        except BaseException:
            self._clean_up()
            raise
        atexit.register(self.stop)

    def _wait_until_ready(self) -> str:
        """Read the line ``ready URI``."""
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + _START_S
        line = b""
        with stdout:
            while not line.endswith(b"\n"):
                ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
                data = os.read(stdout.fileno(), 4096) if ready else b""
                if not data:
                    break
                line += data
        word, _, uri = line.decode("utf-8", "replace").strip().partition(" ")
        if word != "ready":
            self._process.kill()
            said = self._log.read_bytes()[-_TOLD_BYTES:].decode("utf-8", "replace").strip()
            raise FlameError(
                FlameErrorCode.INVALID_CONFIG,
                f"the embedded instance did not start (it has {_START_S:g} s for that); it said: {said or line!r}",
            )
        return uri

    @property
    def is_alive(self) -> bool:
        """Whether this process owns it and it is running."""
        return self._owner == os.getpid() and self._process.poll() is None

    def stop(self) -> None:
        """End it and wait for it. In a forked child this does nothing: the instance is the parent's."""
        if self._owner != os.getpid():
            self._process.returncode = 0  # no child of this process: there is nothing to wait for, or to warn of
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)  # services may leave; results of running tasks would reach nobody
        self._clean_up()
        atexit.unregister(self.stop)

    def _clean_up(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _runtime_folder() -> str | None:
    """Where the private folder goes; None for the temporary one. After su the variable names somebody else's."""
    folder = os.environ.get("XDG_RUNTIME_DIR")
    return folder if folder and os.access(folder, os.W_OK | os.X_OK) else None
