# SPDX-License-Identifier: Apache-2.0
"""What an instance does whose executors run no components."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import SessionState, Shim, TaskState
from hearth.providers.shims import shims_here
from hearth.wasm.requirement import OLDEST
from tests.conftest import DEADLINE_S, SOURCE, Daemon, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_wasmtime = pytest.mark.skipif(importlib.util.find_spec("wasmtime") is None, reason="needs the extra hearth[wasm]")


@needs_wasmtime
def test_all_that_can_run_is_run_unless_the_environment_says_otherwise() -> None:
    assert shims_here({}) == shims_here({"HEARTH_SHIMS": "Host, WASM"}) == {Shim.HOST, Shim.WASM}
    assert shims_here({"HEARTH_SHIMS": "host"}) == {Shim.HOST}
    assert shims_here({"HEARTH_SHIMS": "wasm"}) == {Shim.WASM}


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OSError, match="HEARTH_SHIMS is 'host,cri', want host, wasm, or both"):
        shims_here({"HEARTH_SHIMS": "host,cri"})


@needs_wasmtime
def test_a_wasmtime_that_is_too_old_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "wasmtime-48.0.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: wasmtime\nVersion: 48.0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert shims_here({}) == {Shim.HOST}
    with pytest.raises(OSError, match=f"wasmtime 48.0.0 is installed, want {OLDEST} or newer; install the extra"):
        shims_here({"HEARTH_SHIMS": "wasm"})


def test_the_extra_asks_for_the_oldest_wasmtime_that_will_do() -> None:
    assert f'wasm = ["wasmtime>={OLDEST}.0"]' in (SOURCE.parent / "pyproject.toml").read_text()


def without_wasmtime(place: Place) -> dict[str, str]:
    """An environment in which it cannot be imported, as if it were not installed."""
    folder = place.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['wasmtime'] = None\n")
    return {"PYTHONPATH": f"{folder}:{SOURCE}", "HEARTH_SHIMS": ""}


@pytest.fixture(params=["switched off", "not installed"])
def host_only(place: Place, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    daemon = Daemon(place, **({"HEARTH_SHIMS": "host"} if request.param == "switched off" else without_wasmtime(place)))
    yield daemon
    daemon.stop()


def test_without_components_their_sessions_open_their_tasks_wait_and_everything_closes(host_only: Daemon) -> None:
    with contextlib.closing(host_only.connect()) as client:
        client.register_application("component", {"shim": Shim.WASM, "command": "/opt/component.wasm"})
        session = client.create_session(flamepy.SessionAttributes("component", min_instances=1))
        task = session.create_task(b"x")
        assert (
            client.create_session(flamepy.SessionAttributes("flmping")).invoke(b"") is not None
        )  # others are served, meanwhile
        assert session.get_task(task.id).state is TaskState.PENDING
        told = client.get_session(session.id)
        assert told.state is SessionState.OPEN
        assert told.events is not None
        assert [event.code for event in told.events] == [1004]
        assert "hearth[wasm]" in (told.events[0].message or "")
        session.close()
        assert session.get_task(task.id).state is TaskState.CANCELLED
        client.unregister_application("component")


def test_a_demand_for_components_where_they_cannot_run_ends_the_start_with_what_to_do(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hearth", "up", "--rundir", place.folder / "run"],
        env=place.environment(**{**without_wasmtime(place), "HEARTH_SHIMS": "host,wasm"}),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "HEARTH_SHIMS asks for wasm, but wasmtime is not installed" in done.stderr
    assert "pip install 'hearth[wasm]'" in done.stderr
    assert "Traceback" not in done.stderr
