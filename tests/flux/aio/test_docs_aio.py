"""Every program of docs/aio.md prints what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "aio.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
SECTIONS = [PAGE[: PAGE.index(program)].rsplit("# ", 1)[1].partition("\n")[0] for program, _ in PROGRAMS]


def test_every_program_of_the_page_is_followed_by_what_it_prints() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") >= 5


@pytest.mark.parametrize(("program", "expected"), PROGRAMS, ids=SECTIONS)
def test_a_program_of_the_page_prints_what_it_says(program: str, expected: str, broker: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FLUX_URI": broker}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, timeout=30
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == (expected, "", 0)
