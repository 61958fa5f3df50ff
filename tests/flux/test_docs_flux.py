"""docs/flux.md tells what there is."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flux
from flux.core import c_names

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "flux.md").read_text(encoding="utf-8")
METHODS = PAGE.split("## Methods of the handle")[1].split("\n## ")[0]


PAGES = PAGE + (DOCS / "kvs.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", PAGES, re.DOTALL)


@pytest.mark.parametrize(("program", "expected"), PROGRAMS)
def test_a_program_of_the_page_prints_what_it_says(program: str, expected: str, broker: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FLUX_URI": broker}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == expected


def test_every_program_of_the_page_is_run() -> None:
    assert len(PROGRAMS) == PAGES.count("```python")


def test_the_page_lists_every_public_method_and_nothing_else() -> None:
    listed = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", METHODS.split("### ")[0])) - {"with", "topic", "topic_glob"}
    assert listed == {name for name in dir(flux.Flux) if not name.startswith("_") and name not in INNER}


def test_the_page_lists_every_c_name_and_nothing_else() -> None:
    (listed, _) = METHODS.split("### By their C names")[1].split("; and the constants")
    assert set(re.findall(r"`(\w+)`", listed)) == set(c_names._METHODS)


INNER = {"calls", "calling_aside", "dispatcher", "writes_at_once"}
"""What futures and watchers use of their handle."""


def test_the_modules_of_the_page_exist_unless_it_says_so() -> None:
    section = PAGE.split("## Modules")[1].split("## ")[0]
    for names, state in re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE):
        for name in re.findall(r"`(flux[\w.]*)`", names):
            is_there = importlib.util.find_spec(name) is not None
            assert is_there == (state != "not there"), name
            if is_there:
                importlib.import_module(name)
