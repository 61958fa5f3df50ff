# SPDX-License-Identifier: Apache-2.0
"""How the program in a folder is installed and started, as far as the folder tells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from hearth.installers.failure import InstallFailed
from hearth.installers.project import read_project

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.project import Project

__all__ = ["StartCommand", "find_start_command", "installer_for"]


class StartCommand(NamedTuple):
    """What to register as command and arguments."""

    command: str
    arguments: list[str]


def installer_for(root: Path) -> str:
    """``python`` for a Python project, ``binary`` for anything else."""
    return "binary" if read_project(root) is None else "python"


def find_start_command(root: Path, name: str) -> StartCommand:
    """The command that starts the application of that name. Raises InstallFailed if the folder does not tell.

    Of a Python project: the script of that name, the only one, or the one package with a ``__main__``. Of any
    other folder: ``bin/NAME``, or the single executable in bin or at the top.
    """
    project = read_project(root)
    if project is None:
        return StartCommand(_find_program(root, name), [])
    if project.scripts:
        return StartCommand(_find_script(project, name), [])
    return StartCommand("python3", ["-m", _find_module(root, project, name)])


def _find_script(project: Project, name: str) -> str:
    if name in project.scripts:
        return name
    if len(project.scripts) == 1:
        return next(iter(project.scripts))
    raise _unknown(f"of the scripts {', '.join(sorted(project.scripts))} none is named {name!r}")


def _find_module(root: Path, project: Project, name: str) -> str:
    modules = sorted(
        path.parent.name
        for folder in (root, root / "src")
        for path in folder.glob("*/__main__.py")
        if path.parent.name.isidentifier()
    )
    for wanted in (name, project.name or ""):
        if (module := wanted.replace("-", "_").replace(".", "_")) in modules:
            return module
    if len(modules) == 1:
        return modules[0]
    raise _unknown(
        f"of the modules {', '.join(modules)} none is named {name!r}"
        if modules
        else "the project has neither scripts nor a module with a __main__.py"
    )


def _find_program(root: Path, name: str) -> str:
    in_bin, at_top = _programs(root / "bin"), _programs(root)
    if name in in_bin:
        return name
    for programs in (in_bin, at_top):
        if len(programs) == 1:
            return programs[0]
    if found := [*in_bin, *at_top]:
        raise _unknown(f"of the programs {', '.join(found)} none is named {name!r}")
    raise _unknown("there is no program in bin or at the top, nor is it a Python project")


def _programs(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_file() and os.access(path, os.X_OK))


def _unknown(why: str) -> InstallFailed:
    return InstallFailed(f"it cannot be told how to start it: {why}; say it with --command")
