# SPDX-License-Identifier: Apache-2.0
"""What a Python project says of itself: its start commands, and whether it has to be built at all.

A project without dependencies whose files need no building can be used as it lies there: its root and
its `src` on the module path. That takes no time, no network and no build tool. The decision errs on
the side of building: whatever is not understood is built.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hearth.installers.failure import InstallFailed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PROJECT_FILES", "Project", "is_met_here", "read_project"]

PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")

_BACKENDS = ("setuptools.build_meta", "hatchling.build", "flit_core.buildapi", "poetry.core.masonry.api")
"""These package Python files as they are, unless a tool's table says otherwise."""

_REARRANGING = (
    ("setuptools", ("package-dir", "ext-modules", "cmdclass", "data-files")),
    ("setuptools", ("packages.find.where",)),
    ("hatch", ("build.hooks", "build.sources", "build.force-include", "metadata.hooks")),
    ("hatch", tuple(f"build.targets.wheel.{key}" for key in ("hooks", "sources", "force-include", "packages"))),
    ("flit", ("module",)),
    ("poetry", ("packages", "build", "dependencies")),
)
"""Keys of tools by which what is installed differs from what lies in the root or in src."""


class Project(NamedTuple):
    """One project. scripts: command to ``module:function``."""

    name: str | None
    version: str | None
    scripts: dict[str, str]
    dependencies: list[str]
    build_requires: list[str]
    needs_build: str | None
    """Why it cannot be used as it lies there; None if it can."""


def read_project(root: Path) -> Project | None:
    """The project whose files lie in root; None if there is none. Raises InstallFailed if they cannot be read."""
    if (root / "pyproject.toml").is_file():
        return _from_pyproject(root)
    if (root / "setup.py").is_file():
        return Project(None, None, {}, [], ["setuptools"], "setup.py says how it is built")
    if (root / "setup.cfg").is_file():
        return _from_setup_cfg(root / "setup.cfg")
    return None


def _from_pyproject(root: Path) -> Project:
    path = root / "pyproject.toml"
    try:
        told = msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
        project: dict[str, Any] = msgspec.convert(told.get("project", {}), dict[str, Any])
        build: dict[str, Any] = msgspec.convert(told.get("build-system", {}), dict[str, Any])
        return Project(
            msgspec.convert(project.get("name"), str | None),
            msgspec.convert(project.get("version"), str | None),
            msgspec.convert(project.get("scripts", {}), dict[str, str]),
            dependencies := msgspec.convert(project.get("dependencies", []), list[str]),
            msgspec.convert(build.get("requires", ["setuptools"]), list[str]),
            _why_build(root, told, project, build, dependencies),
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InstallFailed(f"pyproject.toml cannot be read: {error}") from None


def _why_build(
    root: Path, told: dict[str, Any], project: dict[str, Any], build: dict[str, Any], dependencies: list[str]
) -> str | None:
    backend = build.get("build-backend", _BACKENDS[0])
    dynamic = set(project.get("dynamic", ())) - {"readme", "description"}
    if not project:
        return "pyproject.toml has no table project"
    if dependencies:
        return f"it depends on {', '.join(dependencies)}"
    if dynamic:
        return f"only a build tells its {', '.join(sorted(map(str, dynamic)))}"
    if (root / "setup.py").exists() or "backend-path" in build or backend not in _BACKENDS:
        return f"its build backend may do anything: {backend}"
    if project.get("entry-points") or project.get("gui-scripts"):
        return "it has entry points"
    if not is_met_here(f"python{project.get('requires-python', '')}"):
        return f"it requires Python {project['requires-python']}"
    return _why_rearranged(told.get("tool", {}))


def _why_rearranged(tools: dict[str, Any]) -> str | None:
    for tool, keys in _REARRANGING:
        for key in keys:
            value: Any = tools.get(tool, {})
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None and value not in (["src"], ["."]):
                return f"tool.{tool}.{key} says how it is put together"
    return None


def _from_setup_cfg(path: Path) -> Project:
    told = configparser.ConfigParser(interpolation=None)
    try:
        told.read_string(path.read_text(encoding="utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InstallFailed(f"setup.cfg cannot be read: {error}") from None
    lines = told.get("options.entry_points", "console_scripts", fallback="").splitlines()
    scripts = {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines) if target}
    dependencies = told.get("options", "install_requires", fallback="").split("\n")
    dependencies = [line.strip() for line in dependencies if line.strip()]
    why = f"it depends on {', '.join(dependencies)}" if dependencies else None
    if why is None and told.get("options", "package_dir", fallback="").strip().replace(" ", "") not in ("", "=src"):
        why = "options.package_dir says how it is put together"
    name = told.get("metadata", "name", fallback=None)
    version = told.get("metadata", "version", fallback=None)
    return Project(name, version, scripts, dependencies, ["setuptools"], why)


def is_met_here(requirement: str) -> bool:
    """Whether this interpreter has what ``NAME``, ``NAME>=1.2`` or ``python>=3.10,<4`` asks for.

    False, too, for what is written in any other way: then it is not known.
    """
    match = re.fullmatch(
        r"([\w.-]+?)\s*((?:>=|<)\s*\d+(?:\.\d+)*)?\s*(?:,\s*((?:>=|<)\s*\d+(?:\.\d+)*))?", requirement.strip()
    )
    if match is None:
        return False
    name, *bounds = match.groups(default="")
    try:
        own = sys.version_info[:3] if name == "python" else _release(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(own >= _release(bound) if bound.startswith(">=") else own < _release(bound) for bound in bounds if bound)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
