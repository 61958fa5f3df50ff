# SPDX-License-Identifier: Apache-2.0
"""The installer `python`: a project and its dependencies, for the module path of the application's processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from hearth.installers.failure import InstallFailed
from hearth.installers.installation import Installation
from hearth.installers.project import PROJECT_FILES, Project, is_met_here, read_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["OWN_VERSION", "base_installation", "find_uv", "install_python"]

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_TOLD_LINES = 8

_SCRIPT = """#!{python}
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.exit({call}())
"""


def base_installation(version: str, caches: Path) -> Installation:
    """What every application of this installer gets. caches: a folder for those of uv and pip."""
    return Installation(
        variables={
            "FLAME_PYTHON_VERSION": version,
            "UV_CACHE_DIR": str(caches / "uv"),
            "PIP_CACHE_DIR": str(caches / "pip"),
        }
    )


def find_uv(environment: Mapping[str, str]) -> str | None:
    """The program uv: beside our interpreter, or on PATH."""
    search = [os.path.dirname(sys.executable), environment.get("PATH", os.defpath)]
    return shutil.which("uv", path=os.pathsep.join(search))


def install_python(
    folder: Path, version: str, log: Path, environment: Mapping[str, str], *, uv: str | None
) -> Installation:
    """Install the project that was unpacked into ``folder/source``; relative to folder.

    environment: for uv or pip, with their caches. What they print is in the file log. Without uv, pip does it.
    Raises InstallFailed if there is no project, or they fail.
    """
    root = _project_root(folder / "source")
    project = read_project(root)
    assert project is not None
    deps = folder / "deps"
    deps.mkdir()
    if project.needs_build is None:
        log.write_text("used as it lies there: no dependencies, and nothing to build\n")
        _write_metadata(project, deps)
        _write_scripts(project, deps / "bin", version)
    else:
        _run(_command(project, deps, version, uv), root, log, environment)
    inside = root.relative_to(folder)
    return Installation(
        path=["deps/bin"],
        python_path=["deps", str(inside), str(inside / "src")] if (root / "src").is_dir() else ["deps", str(inside)],
        variables={"FLAME_APP_DIR": str(inside)},
    )


def _project_root(source: Path) -> Path:
    """The top of what was unpacked, or the one folder in it, as in a source distribution."""
    entries = list(source.iterdir())
    lone = [entry for entry in entries if len(entries) == 1 and entry.is_dir()]
    for root in [source, *lone]:
        if any((root / name).is_file() for name in PROJECT_FILES):
            return root
    raise InstallFailed(
        "the package is no Python project: it has none of pyproject.toml, setup.py, setup.cfg at its top;"
        " use the installer binary for a program"
    )


def _write_metadata(project: Project, deps: Path) -> None:
    """So that importlib.metadata knows the project, as it would had it been built."""
    if project.name and project.version and "/" not in project.name + project.version:
        name = project.name.replace("-", "_")
        folder = deps / f"{name}-{project.version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n")


def _write_scripts(project: Project, folder: Path, version: str) -> None:
    """What an installer would make of [project.scripts]."""
    python = sys.executable if version == OWN_VERSION else f"/usr/bin/env python{version}"
    for command, target in project.scripts.items():
        module, _, call = target.partition(":")
        call = call.partition("[")[0].strip()
        name = call.partition(".")[0]
        words = [*module.strip().split("."), *call.split(".")]
        if "/" in command or command in ("", ".", "..") or not all(word.isidentifier() for word in words):
            raise InstallFailed(f"pyproject.toml: script {command!r} is {target!r}, want module:function")
        folder.mkdir(exist_ok=True)
        script = folder / command
        script.write_text(_SCRIPT.format(python=python, module=module.strip(), name=name, call=call))
        script.chmod(0o755)


# -- uv and pip


def _command(project: Project, deps: Path, version: str, uv: str | None) -> list[str]:
    python = sys.executable if version == OWN_VERSION else shutil.which(f"python{version}")
    if uv is not None:
        command = [uv, "pip", "install", "--python", python or version]
    elif python is not None:
        # -I: neither the project's folder nor our module path may put something in front of pip's own modules.
        command = [python, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    else:
        raise InstallFailed(
            f"FLAME_PYTHON_VERSION is {version}, and there is neither uv nor python{version} on PATH; install one"
        )
    if version == OWN_VERSION and _can_build_here(project):
        command.append("--no-build-isolation")  # nothing has to be fetched for the build
    return [*command, "--target", str(deps), "."]


def _can_build_here(project: Project) -> bool:
    """Whether this interpreter has all that the build requires. An older setuptools takes wheel without saying so."""
    requires = project.build_requires
    if any(requirement.lower().startswith("setuptools") for requirement in requires):
        requires = [*requires, "setuptools>=70.1"]
    return all(map(is_met_here, requires))


def _run(command: list[str], root: Path, log: Path, environment: Mapping[str, str]) -> None:
    """Run it in the project, with what it prints in the log."""
    if not (root / "pyproject.toml").exists() and not (root / "setup.py").exists():
        # A setup.cfg alone says everything, but neither tool takes it for a project.
        (root / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\n')
    ours = ("PYTHONPATH", "PYTHONWARNINGS", "PYTHONHOME")  # they are about this process
    with log.open("wb") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        ran = subprocess.run(
            command,
            cwd=root,
            env={name: value for name, value in environment.items() if name not in ours},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ran.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = "\n".join([line.rstrip() for line in lines if line.strip()][-_TOLD_LINES:])
        tool = "uv" if command[1] == "pip" else "pip"
        raise InstallFailed(
            f"{tool} ended with status {ran.returncode}; all it said is in {log}; the last lines:\n{last}"
        )
