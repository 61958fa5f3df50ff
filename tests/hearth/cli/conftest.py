from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hearth.cli.commands import Instance, Running, environment

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="hearth-test-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A daemon for the tests of one module."""
    with tempfile.TemporaryDirectory(prefix="hearth-test-") as path:
        env = environment(Path(path))
        with Running(env, "up", "--rundir", f"{path}/run", stderr=subprocess.DEVNULL) as command:
            word, _, uri = command.line().partition(" ")
            assert word == "ready"
            yield Instance(uri, env | {"FLAME_ENDPOINT": uri}, command)
            assert command.stop(signal.SIGTERM) == 0
