"""Disks that tests can fill: for real, or, where nobody may mount one, by a limit on the size of files."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Daemon

__all__ = ["Disk", "LimitedFiles", "SmallDisk", "mounted"]

_SIZE_BYTES = 8 << 20


class Disk(Protocol):
    """Where a daemon keeps its store."""

    def fill(self, daemon: Daemon) -> None:
        """From now on nothing more can be written."""

    def free(self, daemon: Daemon) -> None:
        """There is room again."""


class SmallDisk:
    """A file system of a few MiB, mounted at the folder."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self, daemon: Daemon) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self, daemon: Daemon) -> None:
        self._ballast.unlink()


class LimitedFiles:
    """No disk, but a limit on the size of each file that the daemon writes: its log may grow, its store not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self, daemon: Daemon) -> None:
        size = min(log.stat().st_size for log in self._folder.glob("*-wal"))
        assert size > 2 * len(daemon.log()), "the log has no room to grow"
        self._limit(daemon, size)

    def free(self, daemon: Daemon) -> None:
        if daemon.process.poll() is None:  # the limit ends with the process
            self._limit(daemon, resource.RLIM_INFINITY)

    def _limit(self, daemon: Daemon, size: int) -> None:
        _, most = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (size, most))


@contextlib.contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """A mount at the folder, as mount(8) is told. Skips the test where that is not permitted."""
    try:
        told = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount(8) here")
    if told.returncode:
        pytest.skip(f"uid {os.getuid()} may not mount here: {told.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    with mounted(folder, "-t", "tmpfs", "-o", f"size={_SIZE_BYTES},mode=700", "tmpfs"):
        yield SmallDisk(folder)
