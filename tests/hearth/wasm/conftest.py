# SPDX-License-Identifier: Apache-2.0
"""What the tests of components share. Without wasmtime they are skipped, and say so."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Protocol

import pytest

import flamepy
from flamepy.core.service import ApplicationContext, SessionContext, TaskContext
from hearth.wasm.settings import Settings
from tests.conftest import NOTHING, Daemon, has_closed, new_place, wait_until
from tests.hearth.wasm.components import actor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hearth.wasm.service import WasmService


BY_DEFAULT = Settings()


@pytest.fixture(autouse=True)
def _wasmtime() -> None:
    pytest.importorskip("wasmtime", reason="needs the extra hearth[wasm]")


class Loaded:
    """A component in this process, its session entered."""

    def __init__(self, service: WasmService, common_data: bytes | None) -> None:
        self.service = service
        service.on_session_enter(SessionContext(common_data, "a-session", ApplicationContext("an-application")))

    @property
    def is_quick(self) -> bool:
        assert self.service._runtime is not None
        return self.service._runtime.is_quick

    def do(self, data: bytes | None, task_id: str = "7") -> bytes | None:
        return self.service.on_task_invoke(TaskContext(task_id, "a-session", data))


class Load(Protocol):
    """Loads a component, text or binary, and enters a session with it."""

    def __call__(
        self, source: str | bytes, common_data: bytes | None = None, settings: Settings = BY_DEFAULT
    ) -> Loaded: ...


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Components in this process; their sessions are left when the test is over."""
    from hearth.wasm.service import WasmService

    with contextlib.ExitStack() as leaving:

        def load(source: str | bytes, common_data: bytes | None = None, settings: Settings = BY_DEFAULT) -> Loaded:
            path = tmp_path / "component.wasm"
            path.write_bytes(source.encode() if isinstance(source, str) else source)
            service = WasmService([str(path), "an argument"], settings)
            leaving.callback(service.on_session_leave)
            return Loaded(service, common_data)

        yield load


@pytest.fixture(scope="package")
def wasm_daemon() -> Iterator[Daemon]:
    """A daemon that runs components, and the actor as one of its applications."""
    pytest.importorskip("wasmtime", reason="needs the extra hearth[wasm]")
    with new_place() as place:
        daemon = Daemon(place, HEARTH_SHIMS="host,wasm")
        with contextlib.closing(daemon.connect()) as connection:
            register_component(connection, "actor", place.folder, actor(), HEARTH_WASM_TIMEOUT="0.5")
        yield daemon
        daemon.stop()


@pytest.fixture
def wasm_client(wasm_daemon: Daemon) -> Iterator[flamepy.Connection]:
    with contextlib.closing(wasm_daemon.connect()) as connection:
        yield connection


class NewSession(Protocol):
    """Makes sessions of a component with one executor, closed when the test is over."""

    def __call__(self, application: str = "actor", common_data: bytes | None = None) -> flamepy.Session: ...


@pytest.fixture
def new_wasm_session(wasm_client: flamepy.Connection) -> Iterator[NewSession]:
    made: list[flamepy.Session] = []

    def new(application: str = "actor", common_data: bytes | None = None) -> flamepy.Session:
        attributes = flamepy.SessionAttributes(application, common_data=common_data, max_instances=1, resreq=NOTHING)
        made.append(wasm_client.create_session(attributes))
        return made[-1]

    yield new
    for session in made:
        wait_until(functools.partial(has_closed, session), f"{session} can be closed")


def register_component(
    connection: flamepy.Connection, name: str, folder: Path, source: str, **environments: str
) -> None:
    """Put a component into a folder and make it an application."""
    (folder / f"{name}.wat").write_text(source)
    connection.register_application(
        name,
        {
            "shim": flamepy.Shim.WASM,
            "command": f"{name}.wat",
            "working_directory": str(folder),
            "environments": environments,
        },
    )
