# SPDX-License-Identifier: Apache-2.0
"""One run of `python -m hearth.installers`, from its start to its result."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.python_path import with_absolute_python_path
from hearth.installers.installation import Result

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.installation import Request

__all__ = ["InstallerProcess"]

log = logging.getLogger(__name__)

_TOLD_CHARACTERS = 2000


class InstallerProcess:
    """A process in a group of its own, so that what it starts is killed with it. pidfd is readable when it ends."""

    def __init__(self, request: Request, cache_folder: Path) -> None:
        """Start it in cache_folder, which exists. Raises OSError if that fails."""
        # Files, not pipes: nobody has to read them while it runs. stdin rather than an argument, which
        # anybody on the machine may read: a url may have a password in it.
        with contextlib.ExitStack() as opened:
            stdin, self._stdout, self._stderr = (opened.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            stdin.write(msgspec.json.encode(request))
            stdin.seek(0)
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "hearth.installers", str(cache_folder)],
                env=with_absolute_python_path(os.environ),
                cwd=cache_folder,  # not ours: -m would take a random.py that lies here for the module
                stdin=stdin,
                stdout=self._stdout,
                stderr=self._stderr,
                start_new_session=True,
            )
            opened.callback(self._popen.wait)
            opened.callback(self.kill)
            self.pidfd = os.pidfd_open(self._popen.pid)
            opened.pop_all()
            stdin.close()

    def kill(self) -> None:
        """End it and what it started, now. Only before `take_result`, which gives its number back."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def take_result(self) -> Result:
        """What it said in the end. Call this once, when it has ended."""
        self.kill()  # what it left behind
        status = self._popen.wait()
        os.close(self.pidfd)
        with self._stdout as stdout, self._stderr as stderr:
            for file in (stdout, stderr):
                file.seek(0)
            told, said = stdout.read(), stderr.read().decode("utf-8", "replace").strip()
        if status == 0:
            if said:
                log.warning("installer: %s", said)
            return msgspec.json.decode(told, type=Result)
        if status < 0:
            return Result(f"the installer was killed by signal {-status}")
        return Result(f"the installer ended with status {status}: {said[-_TOLD_CHARACTERS:]}")
