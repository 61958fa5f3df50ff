# SPDX-License-Identifier: Apache-2.0
"""What is counted in one Python file; used by both sides. Run: python examples/stdlib_census/client.py."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from pathlib import Path

import msgspec

__all__ = ["Answer", "Census", "Function", "census_of", "stdlib_files"]

_NOT_OURS = {"site-packages", "dist-packages"}


class Function(msgspec.Struct, order=True):
    """A function and how long it is; the longer one is the greater one."""

    lines: int
    name: str


class Census(msgspec.Struct):
    """The counts of one file. error says why it could not be parsed; nothing but lines is counted then."""

    lines: int
    functions: int = 0
    classes: int = 0
    longest: Function | None = None
    imports: list[str] = []
    error: str | None = None


class Answer(msgspec.Struct):
    """A task's output: the census, and the process that took it."""

    pid: int
    census: Census


def stdlib_files() -> list[Path]:
    """Every .py file of the running Python's standard library, with its tests if they are installed."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(path for path in root.rglob("*.py") if _NOT_OURS.isdisjoint(path.parts))


def census_of(path: Path) -> Census:
    """Read, parse and count one file. Raises OSError if it cannot be read."""
    source = path.read_bytes()
    lines = source.count(b"\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # old escapes in the test data
            warnings.simplefilter("ignore", DeprecationWarning)  # what Python < 3.12 calls them
            tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        return Census(lines, error=f"{type(error).__name__}: {error}")
    return _count(tree, lines)


def _count(tree: ast.Module, lines: int) -> Census:
    functions: list[Function] = []
    classes = 0
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions.append(Function((node.end_lineno or node.lineno) - node.lineno + 1, node.name))
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module.partition(".")[0])
    return Census(lines, len(functions), classes, max(functions, default=None), sorted(imports))
