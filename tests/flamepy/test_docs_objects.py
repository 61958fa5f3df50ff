"""The program of docs/objects.md prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import DEADLINE_S

if TYPE_CHECKING:
    from tests.conftest import Place

PAGE = (Path(__file__).parents[2] / "docs" / "objects.md").read_text(encoding="utf-8")


def test_the_program_of_the_page_prints_what_it_says(place: Place) -> None:
    ((program, expected),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=place.environment(),
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (told.stdout, told.stderr, told.returncode) == (expected, "", 0)
