# SPDX-License-Identifier: Apache-2.0
"""Running an application's program to its end, forked or executed, without an instance around it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from flamepy import ApplicationAttributes
from hearth.engine.model import Resources
from hearth.providers.base import Launch
from hearth.providers.local import LocalProvider
from hearth.providers.logs import ExecutorLogs
from hearth.zygote.process import start_zygote
from tests.conftest import DEADLINE_S, SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

WORLD = str(SERVICES / "world.py")
ROOM = Resources(1, 1, 1)


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what it had printed by then."""

    how: str
    stdout: bytes
    stderr: bytes

    def world(self) -> dict[str, Any]:
        """What world.py has told."""
        assert self.how == "exited with status 0", self.stderr.decode()
        told: dict[str, Any] = json.loads(self.stdout)
        return told


class Executors:
    """A provider with nobody but the test around it."""

    def __init__(self, folder: Path, *, is_forking: bool) -> None:
        self.zygote = start_zygote() if is_forking else None
        self.logs = ExecutorLogs(time.time, {"session"})
        self.provider = LocalProvider(
            folder=folder / "executors", uri="local:///nowhere", capacity=ROOM, logs=self.logs, zygote=self.zygote
        )
        self._ends: dict[str, asyncio.Future[str]] = {}
        self.provider.on_exit = self._exited

    def _exited(self, executor_id: str, how: str, return_code: int | None = None) -> None:
        self._ends[executor_id].set_result(how)

    def launch(self, attributes: ApplicationAttributes, executor_id: str = "executor") -> None:
        self._ends[executor_id] = asyncio.get_running_loop().create_future()
        self.provider.launch(Launch(executor_id, "session", "application", attributes, ROOM))

    async def pid(self, executor_id: str = "executor") -> int:
        """Of the process, as soon as there is one."""
        await until(lambda: self.provider.pid_of(executor_id), f"{executor_id} has started")
        pid = self.provider.pid_of(executor_id)
        assert pid is not None
        return pid

    async def printed(self, text: bytes, executor_id: str = "executor") -> None:
        """Until it has printed the text on stdout."""
        [log] = [log for log in self.logs.of("session") if log.executor_id == executor_id]
        await until(lambda: text in log.stdout.kept, f"{executor_id} has printed {text!r}")

    async def end(self, executor_id: str = "executor") -> Outcome:
        how = await asyncio.wait_for(self._ends[executor_id], DEADLINE_S)
        [log] = [log for log in self.logs.of("session") if log.executor_id == executor_id]
        return Outcome(how, log.stdout.kept, log.stderr.kept)


async def until(condition: Callable[[], object], what: str) -> None:
    """As `wait_until`, while the loop goes on."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def open_executors(folder: Path, *, is_forking: bool = True) -> AsyncIterator[Executors]:
    """With its fork server if is_forking; nothing of it is left behind."""
    before = set(psutil.Process().children())  # daemons that other tests share
    executors = Executors(folder, is_forking=is_forking)
    try:
        yield executors
    finally:
        await executors.provider.close()
    assert set(psutil.Process().children()) <= before


def run(folder: Path, *, is_forking: bool, **attributes: Any) -> Outcome:
    """Run one program to its end."""

    async def run_it() -> Outcome:
        async with open_executors(folder, is_forking=is_forking) as executors:
            executors.launch(ApplicationAttributes(**attributes))
            return await executors.end()

    return asyncio.run(run_it())


def both_ways(folder: Path, **attributes: Any) -> Iterator[Outcome]:
    """Executed, then forked."""
    for is_forking in (False, True):
        yield run(folder, is_forking=is_forking, **attributes)
