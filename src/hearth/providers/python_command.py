# SPDX-License-Identifier: Apache-2.0
"""Which commands the fork server can stand in for: Python programs of our own interpreter, started in the usual way."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["interpreter_of"]

_AT_START = ("PYTHON", "LD_", "LC_", "GLIBC_", "MALLOC_", "OPENSSL_", "COVERAGE_")
_AT_START_WHOLE = {"HOME", "LANG", "LANGUAGE", "LOCPATH", "TZ"}
"""Names, and beginnings of names, of what the interpreter and its libraries look at once, when they start."""


def interpreter_of(command: Sequence[str], environment: Mapping[str, str], server: Mapping[str, str]) -> str | None:
    """The path by which the command names our interpreter, if a fork comes out the same as executing it.

    server is the environment of the fork server, where the interpreter has already been started. None for another
    program, another interpreter or another virtual environment; for any option of the interpreter but -m; and when
    it would start differently.
    """
    name, *arguments = command
    if not arguments or not arguments[0] or (arguments[0][0] == "-" and (arguments[0] != "-m" or len(arguments) < 2)):
        return None
    if _what_counts_at_start(environment) != _what_counts_at_start(server):
        return None
    path = name if os.path.isabs(name) else shutil.which(name, path=environment.get("PATH", os.defpath))
    return path if path is not None and os.path.isabs(path) and _is_ours(path) else None


def _what_counts_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """All but PYTHONPATH, which a fork can take over."""
    return {
        name: value
        for name, value in environment.items()
        if (name in _AT_START_WHOLE or name.startswith(_AT_START)) and name != "PYTHONPATH"
    }


def _is_ours(path: str) -> bool:
    """Whether it is our executable, under any name, in our folder: next to it lies what makes a virtual environment."""
    return path == sys.executable or (
        _folder(path) == _folder(sys.executable) and _target(path) == _target(sys.executable)
    )


def _folder(path: str) -> str:
    return os.path.realpath(os.path.dirname(path))


def _target(path: str) -> str:
    return os.path.realpath(path)
