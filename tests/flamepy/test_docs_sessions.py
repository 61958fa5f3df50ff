"""Every program of docs/sessions.md prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import DEADLINE_S

if TYPE_CHECKING:
    from tests.conftest import Daemon

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sessions.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def test_every_program_of_the_page_is_followed_by_what_it_prints() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") >= 4


def test_one_after_the_other_the_programs_of_the_page_print_what_it_says(own_daemon: Daemon) -> None:
    environment = own_daemon.place.environment(FLAME_ENDPOINT=own_daemon.uri)
    for program, expected in PROGRAMS:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert (ran.stdout, ran.stderr, ran.returncode) == (expected, "", 0), program
