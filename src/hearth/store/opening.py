# SPDX-License-Identifier: Apache-2.0
"""The engine's store, opened, read and ready to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearth.store.database import Database
from hearth.store.recovery import recover
from hearth.store.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.engine.engine import Engine

__all__ = ["open_store"]


def open_store(path: Path, synchronous: str, engine: Engine) -> Writer:
    """Give the engine what is in the file, and return what writes to it from now on. Raises OSError."""
    database = Database(path, synchronous=synchronous)
    try:
        recover(database, engine)
    except BaseException:
        database.close()
        raise
    return Writer(database)
