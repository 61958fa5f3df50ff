# SPDX-License-Identifier: Apache-2.0
"""The service that an executor runs for a component: its three methods are the component's three functions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wasmtime import WasmtimeError

from flamepy.core.service import FlameService, ServiceFailure
from hearth.wasm.binary import NotReadable
from hearth.wasm.interface import ENTER, INVOKE, LEAVE, InterfaceError, context_of
from hearth.wasm.runtime import Runtime, trap_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flamepy.core.service import SessionContext, TaskContext
    from hearth.wasm.runtime import Live
    from hearth.wasm.settings import Settings

__all__ = ["WasmService", "find"]


class WasmService(FlameService):
    """A component in its session. A trap ends the instance and its task; the next task gets a fresh one.

    command is the component's file and what it sees as its arguments.
    """

    def __init__(self, command: Sequence[str], settings: Settings) -> None:
        self._command = list(command)
        self._settings = settings
        self._live: Live | None = None
        self._runtime: Runtime | None = None
        self._session: SessionContext

    def on_session_enter(self, context: SessionContext) -> None:
        """Load the component and have it enter. Raises ServiceFailure."""
        self._session = context
        path = self._command[0]
        try:
            self._runtime = Runtime(find(path).read_bytes(), self._settings, self._command)
        except (OSError, NotReadable, InterfaceError, WasmtimeError) as error:
            raise ServiceFailure(f"component {path}: {error}") from error
        self._live = self._entered()

    def on_task_invoke(self, context: TaskContext) -> bytes | None:
        """Have it do a task. Raises ServiceFailure with the component's error, or why it was stopped."""
        live, self._live = self._live or self._entered(), None
        try:
            output = live.call(INVOKE, context_of(self._session, context.task_id), context.input)
        except WasmtimeError as trap:
            live.close()
            raise self._stopped(trap) from trap
        except ServiceFailure:
            self._live = live
            raise
        self._live = live
        return output

    def on_session_leave(self) -> None:
        """Have it leave, unless it never entered, or was stopped."""
        try:
            if self._live is not None:
                context = {**context_of(self._session), "common-data": None}  # as Flame does; it has had it
                self._live.call(LEAVE, context)
        finally:
            if self._runtime is not None:
                self._runtime.close()

    def _entered(self) -> Live:
        """A fresh instance that has entered the session."""
        assert self._runtime is not None  # the session was entered before
        path = self._command[0]
        try:
            live = self._runtime.instantiate()
        except OSError as error:
            raise ServiceFailure(f"component {path}: {error}") from error
        except WasmtimeError as error:
            raise ServiceFailure(f"component {path}: {trap_text(error, self._settings)}") from error
        try:
            live.call(ENTER, context_of(self._session))
        except WasmtimeError as trap:
            live.close()
            raise self._stopped(trap, f" in {ENTER}") from trap
        except ServiceFailure:
            live.close()
            raise
        return live

    def _stopped(self, trap: WasmtimeError, where: str = "") -> ServiceFailure:
        return ServiceFailure(f"the component was stopped{where}: {trap_text(trap, self._settings)}")


def find(path: str) -> Path:
    """The component's file: absolute, in the working folder, or in what an installer unpacked.

    Raises FileNotFoundError.
    """
    folders = [Path.cwd(), *(Path(folder) for folder in [os.environ.get("FLAME_APP_DIR")] if folder)]
    for folder in folders:
        if (folder / path).is_file():
            return folder / path
    looked = " and ".join(map(str, folders))
    raise FileNotFoundError(f"no such file{'' if os.path.isabs(path) else f' in {looked}'}")
