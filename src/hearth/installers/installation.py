# SPDX-License-Identifier: Apache-2.0
"""What an installed application adds to the environment of its processes. Pure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["Installation", "Request", "Result", "python_version"]


class Request(msgspec.Struct, frozen=True):
    """What is to be installed: the standard input of `python -m hearth.installers`, as JSON."""

    installer: str
    """``python`` or ``binary``."""
    url: str
    python_version: str
    application: str
    """Names the log; applications with the same package share what is installed."""


class Installation(msgspec.Struct, frozen=True):
    """Folders to be searched first, in this order, and variables for whoever has not set them."""

    path: list[str] = []
    python_path: list[str] = []
    library_path: list[str] = []
    variables: dict[str, str] = {}

    def below(self, folder: str) -> Installation:
        """The same with its folders, and the values of its variables, taken relative to this one."""

        def absolute(entries: list[str]) -> list[str]:
            return [os.path.join(folder, entry) for entry in entries]

        return Installation(
            absolute(self.path),
            absolute(self.python_path),
            absolute(self.library_path),
            {name: os.path.join(folder, value) for name, value in self.variables.items()},
        )

    def apply(self, environment: MutableMapping[str, str]) -> None:
        """Put it into an environment; what was on its search paths is searched after ours."""
        _prepend(environment, "PATH", self.path, environment.get("PATH", os.defpath))
        _prepend(environment, "PYTHONPATH", self.python_path, environment.get("PYTHONPATH", ""))
        _prepend(environment, "LD_LIBRARY_PATH", self.library_path, environment.get("LD_LIBRARY_PATH", ""))
        for name, value in self.variables.items():
            environment.setdefault(name, value)


def _prepend(environment: MutableMapping[str, str], name: str, entries: list[str], behind: str) -> None:
    if entries:
        # Each once; an empty entry would mean the current folder.
        whole = dict.fromkeys(filter(None, [*entries, *behind.split(os.pathsep)]))
        environment[name] = os.pathsep.join(whole)


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the installing process says in the end, as JSON: a failure, or what is there now."""

    failure: str | None = None
    key: str | None = None
    installation: Installation | None = None


def python_version(environments: Mapping[str, str] | None, own: str) -> str:
    """The application's FLAME_PYTHON_VERSION, such as ``3.12`` or ``python3.12``; else that of this interpreter."""
    return (environments or {}).get("FLAME_PYTHON_VERSION", "").strip().removeprefix("python") or own
