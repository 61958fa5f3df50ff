"""Only what an earlier daemon has started is taken up again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hearth.engine.model import Resources
from hearth.providers.local import LocalProvider
from hearth.providers.logs import ExecutorLogs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that is no executor."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        yield process
        with contextlib.suppress(OSError):
            process.kill()


@pytest.mark.parametrize("name", ["unknown", "../kept", ""])
def test_a_process_that_nobody_left_behind_is_not_adopted(
    tmp_path: Path, stranger: subprocess.Popen[bytes], name: str
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "executors" / "left").mkdir(parents=True)

    async def test() -> bool:
        logs = ExecutorLogs(itertools.count().__next__, {"s"})
        provider = LocalProvider(folder=tmp_path / "executors", uri="", capacity=Resources(1, 1, 0), logs=logs)
        adopted = provider.adopt(name, "s", stranger.pid)
        await provider.close()
        return adopted

    assert not asyncio.run(test())
    assert stranger.poll() is None
    assert kept.exists()
