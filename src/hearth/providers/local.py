# SPDX-License-Identifier: Apache-2.0
"""The provider `local`: each executor is a process on this machine, in a process group of its own."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from hearth.engine.model import Resources
from hearth.installers.cache import InstallCache, default_cache_folder
from hearth.providers.adopted import AdoptedChild, open_output
from hearth.providers.base import INSTALLATION_FAILED
from hearth.providers.child import Child, ProcessSpec, could_not_start
from hearth.providers.environment import command_line, process_environment
from hearth.providers.output import OutputPipe, OutputTail
from hearth.providers.preparation import Preparations
from hearth.providers.shims import shims_here
from hearth.providers.zygote import Zygote

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.installation import Installation
    from hearth.providers.base import ExitListener, Launch, StartListener
    from hearth.providers.logs import ExecutorLog, ExecutorLogs
    from hearth.zygote.process import ZygoteProcess

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
    child: Child
    log: ExecutorLog
    folder: Path


class LocalProvider:
    """Starts, watches and ends processes, and keeps what they print in logs.

    Raises OSError if HEARTH_SHIMS asks for what cannot run here.

    zygote, if there is one, is what Python programs are forked from; it is the provider's from now on.
    """

    def __init__(
        self, *, folder: Path, uri: str, capacity: Resources, logs: ExecutorLogs, zygote: ZygoteProcess | None = None
    ) -> None:
        self.capacity = capacity
        self.shims = shims_here(os.environ)
        self._folder = folder
        self._uri = uri
        self._logs = logs
        self._zygote = None if zygote is None else Zygote(zygote)
        self.on_start: StartListener = _nobody_waits
        self.on_exit: ExitListener = _nobody
        self._loop = asyncio.get_running_loop()
        cache = InstallCache(default_cache_folder())
        self._preparations = Preparations(cache, self._launch_prepared, self._refuse)
        self._processes: dict[str, _Process] = {}
        self._all_gone = asyncio.Event()
        self.left_behind = _names_in(folder)
        """Executors that an earlier daemon has left, if they live."""

    def pid_of(self, executor_id: str) -> int | None:
        """The process id, None when it has ended."""
        process = self._processes.get(executor_id)
        return None if process is None else process.child.pid

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
            # Not from within launch: the engine is in the middle of a step.
            self._loop.call_soon(self.on_exit, launch.executor_id, could_not_start(error))

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
        where = launch.attributes.working_directory or str(folder)
        on_ended = functools.partial(self._on_ended, launch.executor_id)
        start = Child if self._zygote is None else self._zygote.start
        with OutputPipe() as stdout, OutputPipe() as stderr:
            spec = ProcessSpec(launch.executor_id, command, environment, where, stdout.write_end, stderr.write_end)
            child = start(spec, on_ended)
            kept = self._logs.open(launch.executor_id, launch.session_id, stdout.tail(), stderr.tail())
            return _Process(child, kept, folder)

    def adopt(self, executor_id: str, session_id: str, pid: int) -> bool:
        """Watch over, and read, a process that an earlier daemon has started; False if it has ended, or never was."""
        if executor_id not in self.left_behind:
            return False
        try:
            child = AdoptedChild(executor_id, pid, functools.partial(self._on_ended, executor_id))
        except OSError:
            return False
        stdout, stderr = (_tail_of(pid, descriptor) for descriptor in (1, 2))
        kept = self._logs.open(executor_id, session_id, stdout, stderr)
        self._processes[executor_id] = _Process(child, kept, self._folder / executor_id)
        log.info("executor %s is here again: pid %d", executor_id, pid)
        return True

    def _on_ended(self, executor_id: str, how: str) -> None:
        process = self._processes.pop(executor_id)
        self._logs.close(process.log)
        lines = process.log.stderr.last_lines(_TOLD_LINES)
        shutil.rmtree(process.folder, ignore_errors=True)
        self._preparations.release(executor_id)
        if not self._processes:
            self._all_gone.set()
        self.on_exit(executor_id, how + ("; the last lines of stderr:\n" + "\n".join(lines) if lines else ""))

    def sweep(self) -> None:
        """Remove the folders of those left behind who have not come back; they have ended."""
        for executor_id in self.left_behind:
            if executor_id not in self._processes:
                shutil.rmtree(self._folder / executor_id, ignore_errors=True)

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
            process.child.kill()

    async def close(self) -> None:
        """Kill all and wait until they are gone."""
        for executor_id in [*self._preparations.waiting, *self._processes]:
            self.stop(executor_id)
        await self._preparations.wait_until_ended()
        self._all_gone.clear()
        try:
            if self._processes:
                await asyncio.wait_for(self._all_gone.wait(), _CLOSE_S)
        finally:
            if self._zygote is not None:
                self._zygote.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except FileNotFoundError:
        return frozenset()


def _tail_of(pid: int, descriptor: int) -> OutputTail:
    """What an adopted process prints, if that can be had: it may have closed it, or sent it elsewhere."""
    try:
        return OutputTail(open_output(pid, descriptor))
    except OSError:
        reading, writing = os.pipe()
        os.close(writing)
        return OutputTail(reading)


def _nobody_waits(executor_id: str) -> None:
    """The start listener until somebody listens."""


def _nobody(executor_id: str, how: str, return_code: int | None = None) -> None:
    """The exit listener until somebody listens."""
    log.error("executor %s %s, and nobody listens", executor_id, how)
