from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hearth.installers.cache import InstallCache
from tests.hearth.installers.packages import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hearth.installers.packages import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> InstallCache:
    cache = InstallCache(tmp_path / "cache")
    cache.make_folders()
    return cache
