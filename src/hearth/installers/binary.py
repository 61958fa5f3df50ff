# SPDX-License-Identifier: Apache-2.0
"""The installer `binary`: programs and their libraries, as they were packed."""

from __future__ import annotations

import shutil
from typing import IO, TYPE_CHECKING

from hearth.installers.failure import InstallFailed
from hearth.installers.installation import Installation

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BINARY_INSTALLATION", "place_program"]

BINARY_INSTALLATION = Installation(
    path=["source/bin", "source"], library_path=["source/libs"], variables={"FLAME_APP_DIR": "source"}
)
"""Relative to the folder whose ``source`` has what was unpacked."""


def place_program(file: IO[bytes], name: str, source: Path) -> None:
    """A single program, which is no archive: it becomes ``bin/NAME``."""
    if name in ("", ".", ".."):
        raise InstallFailed("the url ends in no file name")
    bin_ = source / "bin"
    bin_.mkdir(parents=True)
    program = bin_ / name
    with program.open("wb") as written:
        shutil.copyfileobj(file, written)
    program.chmod(0o755)
