# SPDX-License-Identifier: Apache-2.0
"""What the fork server has imported, and whether a program of its own would have imported the very same."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Preloaded", "preload"]

_WANTED = ("flamepy", "flamepy.core.executor", "flamepy.core.embedded", "flux.core.handle", "runpy")
_WANTED_IF_THERE = ("cloudpickle",)
_AT_START = {"sitecustomize", "usercustomize"}
"""Imported by every interpreter before its program, if they are there."""


class Preloaded(NamedTuple):
    """The modules of this process. plain_path is its module path as if PYTHONPATH had not been set."""

    plain_path: list[str]
    origins: dict[str, str | None]
    """By the name of a top-level module: where it was found."""
    elsewhere: set[str]
    """Of these, the ones that the plain path does not lead to as far as one can see."""
    written: dict[str, int]
    """When the files of all but the standard library were written, in ns."""

    def is_what(self, search: Sequence[str]) -> bool:
        """Whether a program with these folders in front of the plain path finds the same modules, unchanged.

        sys.path must be set so already.
        """
        hidden = (self.origins.keys() | _AT_START) & set().union(*map(_names_in, search))
        return all(_origin_of(name) == self.origins.get(name) for name in hidden | self.elsewhere) and all(
            _written(file) == then for file, then in self.written.items()
        )


def preload(plain_path: list[str]) -> Preloaded:
    """Import what executors need, and set it all aside from garbage collection, so that pages stay shared.

    Ends the process if that has started threads: they would not be in the children, but their locks would.
    """
    for name in _WANTED:
        importlib.import_module(name)
    for name in _WANTED_IF_THERE:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        sys.exit(f"the fork server has {len(threads)} threads after its imports, and cannot fork with more than one")
    gc.collect()
    gc.freeze()
    return _look_around(plain_path)


def _look_around(plain_path: list[str]) -> Preloaded:
    origins: dict[str, str | None] = {}
    elsewhere: set[str] = set()
    written: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None)
        if top == "__main__":
            continue
        if top not in origins:
            spec = getattr(sys.modules.get(top), "__spec__", None)
            origins[top] = getattr(spec, "origin", None)
            if file and not any(file.startswith(os.path.join(entry, "")) for entry in plain_path):
                elsewhere.add(top)
        if file and top not in sys.stdlib_module_names:
            written[file] = _written(file)
    return Preloaded(plain_path, origins, elsewhere, written)


def _names_in(folder: str) -> set[str]:
    """Names of modules that may be in a folder; of more than there are, should it not be one."""
    try:
        return {entry.partition(".")[0] for entry in os.listdir(folder)}
    except (FileNotFoundError, PermissionError):
        return set()
    except NotADirectoryError:  # an archive
        return {name.partition(".")[0] for name in sys.modules}


def _origin_of(name: str) -> str | None:
    """Where the module of that name is found now, whether or not it is loaded."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, None)
        if spec is not None:
            return spec.origin
    return None


def _written(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0
