# SPDX-License-Identifier: Apache-2.0
"""The provider `local`: each executor is a process on this machine, in a process group of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from flamepy.core.types import Shim
from hearth.engine.model import Resources
from hearth.installers.cache import InstallCache, default_cache_folder
from hearth.providers.base import INSTALLATION_FAILED
from hearth.providers.environment import command_line, process_environment
from hearth.providers.output import OutputPipe, OutputTail
from hearth.providers.preparation import Preparations

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.installation import Installation
    from hearth.providers.base import ExitListener, Launch, StartListener

__all__ = ["LocalProvider", "machine_capacity"]

log = logging.getLogger(__name__)

_TOLD_LINES = 12
_CLOSE_S = 5.0


def machine_capacity() -> Resources:
    """CPUs that we may use, all memory, and the GPUs of CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = 0 if visible in ("", "-1") else len(visible.split(","))
    return Resources(len(os.sched_getaffinity(0)), psutil.virtual_memory().total, gpus)


@dataclass(slots=True)
class _Process:
    popen: subprocess.Popen[bytes]
    pidfd: int
    stdout: OutputTail
    stderr: OutputTail
    folder: Path


class LocalProvider:
    """Starts, watches and ends processes. Their ends are noticed at once, through pidfds."""

    def __init__(self, *, folder: Path, uri: str, capacity: Resources) -> None:
        self.capacity = capacity
        self.shims = frozenset({Shim.HOST})
        self._folder = folder
        self._uri = uri
        self.on_start: StartListener = _nobody_waits
        self.on_exit: ExitListener = _nobody
        self._loop = asyncio.get_running_loop()
        cache = InstallCache(default_cache_folder())
        self._preparations = Preparations(cache, self._launch_prepared, self._refuse)
        self._processes: dict[str, _Process] = {}
        self._all_gone = asyncio.Event()

    def pid_of(self, executor_id: str) -> int | None:
        """The process id, None when it has ended."""
        process = self._processes.get(executor_id)
        return None if process is None else process.popen.pid

    def launch(self, launch: Launch) -> None:
        """Start the application's command, once it is installed, in a fresh folder or in its working directory."""
        self._preparations.begin(launch)

    def _refuse(self, launch: Launch, why: str) -> None:
        self.on_exit(launch.executor_id, why, INSTALLATION_FAILED)

    def _launch_prepared(self, launch: Launch, installation: Installation | None) -> None:
        folder = self._folder / launch.executor_id
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # guests may be let into the one above
            folder.mkdir()
            self._processes[launch.executor_id] = self._start(launch, folder, installation)
            self._loop.call_soon(self.on_start, launch.executor_id)
        except OSError as error:
            self._preparations.release(launch.executor_id)
            shutil.rmtree(folder, ignore_errors=True)
            what = f": {error.filename!r}" if error.filename else ""
            how = f"could not be started: {error.strerror or error}{what}"
            # Not from within launch: the engine is in the middle of a step.
            self._loop.call_soon(self.on_exit, launch.executor_id, how)

    def _start(self, launch: Launch, folder: Path, installation: Installation | None) -> _Process:
        environment = process_environment(
            os.environ,
            launch.attributes,
            executor_id=launch.executor_id,
            uri=self._uri,
            temporary=folder,
            installation=installation,
        )
        command = command_line(launch.attributes, environment)
        if not command:
            raise OSError(f"application {launch.application!r} has no command")
        with OutputPipe() as stdout, OutputPipe() as stderr:
            popen = subprocess.Popen(
                command,
                env=environment,
                cwd=launch.attributes.working_directory or folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout.write_end,
                stderr=stderr.write_end,
                start_new_session=True,
            )
            try:
                pidfd = os.pidfd_open(popen.pid)
            except OSError:  # out of descriptors: a process that cannot be watched must not run
                popen.kill()
                popen.wait()
                raise
            self._loop.add_reader(pidfd, self._on_ended, launch.executor_id)
            log.info("executor %s started: pid %d, %s", launch.executor_id, popen.pid, command)
            return _Process(popen, pidfd, stdout.tail(), stderr.tail(), folder)

    def _on_ended(self, executor_id: str) -> None:
        process = self._processes.pop(executor_id)
        self._loop.remove_reader(process.pidfd)
        os.close(process.pidfd)
        status = process.popen.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.popen.pid, signal.SIGKILL)  # what it left behind in its group
        process.stderr.drain()
        lines = process.stderr.last_lines(_TOLD_LINES)
        for stream in (process.stdout, process.stderr):
            stream.close()
        shutil.rmtree(process.folder, ignore_errors=True)
        self._preparations.release(executor_id)
        how = _describe(status)
        log.info("executor %s (pid %d) %s", executor_id, process.popen.pid, how)
        if not self._processes:
            self._all_gone.set()
        self.on_exit(executor_id, how + ("; the last lines of stderr:\n" + "\n".join(lines) if lines else ""))

    def stop(self, executor_id: str, grace_s: float = 0.0) -> None:
        """Kill the process and its group, after grace_s if it has not ended by then."""
        if grace_s > 0:
            self._loop.call_later(grace_s, self.stop, executor_id)
            return
        if self._preparations.cancel(executor_id):
            self._loop.call_soon(self.on_exit, executor_id, "was stopped before it was started")
            return
        process = self._processes.get(executor_id)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.popen.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill all and wait until they are gone."""
        for executor_id in [*self._preparations.waiting, *self._processes]:
            self.stop(executor_id)
        await self._preparations.wait_until_ended()
        self._all_gone.clear()
        if self._processes:
            await asyncio.wait_for(self._all_gone.wait(), _CLOSE_S)
        shutil.rmtree(self._folder, ignore_errors=True)


def _nobody_waits(executor_id: str) -> None:
    """The start listener until somebody listens."""


def _nobody(executor_id: str, how: str, return_code: int | None = None) -> None:
    """The exit listener until somebody listens."""
    log.error("executor %s %s, and nobody listens", executor_id, how)


def _describe(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
