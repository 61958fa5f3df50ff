"""A project that only has to lie on the module path is not built; any other is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from hearth.installers.failure import InstallFailed
from hearth.installers.project import is_met_here, read_project

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.project import Project

BASE = '[project]\nname = "a"\nversion = "1"\n'


def project(folder: Path, **files: str) -> Project:
    for name, text in files.items():
        (folder / name.replace("_toml", ".toml").replace("_py", ".py").replace("_cfg", ".cfg")).write_text(text)
    found = read_project(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        BASE + 'dependencies = []\nrequires-python = ">=3.10"\n',
        BASE + '[project.scripts]\nrun = "a:main"\n',
        BASE + '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
        BASE + '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        BASE + '[build-system]\nrequires = ["x"]\nbuild-backend = "flit_core.buildapi"\n[tool.ruff]\nline-length = 1\n',
        BASE + '[tool.setuptools.packages.find]\nwhere = ["src"]\n',
        BASE + "[tool.setuptools]\npy-modules = []\n",
    ],
)
def test_a_project_without_dependencies_needs_no_build(text: str, tmp_path: Path) -> None:
    found = project(tmp_path, pyproject_toml=text)
    assert (found.needs_build, found.name, found.version) == (None, "a", "1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table project"),
        ('[tool.poetry]\nname = "a"\n', "no table project"),
        (BASE + 'dependencies = ["numpy>=2"]\n', "depends on numpy>=2"),
        ('[project]\nname = "a"\ndynamic = ["version"]\n', "version"),
        (BASE + 'dynamic = ["dependencies"]\n', "dependencies"),
        (BASE + '[build-system]\nrequires = []\nbuild-backend = "maturin"\n', "maturin"),
        (BASE + '[build-system]\nrequires = []\nbuild-backend = "hatchling.build"\nbackend-path = ["."]\n', "anything"),
        (BASE + '[project.entry-points.x]\ny = "a:b"\n', "entry points"),
        (BASE + 'requires-python = ">=3.99"\n', ">=3.99"),
        (BASE + 'requires-python = "~=3.10"\n', "~=3.10"),
        (BASE + '[tool.setuptools.package-dir]\na = "lib"\n', "tool.setuptools.package-dir"),
        (BASE + '[tool.setuptools.packages.find]\nwhere = ["lib"]\n', "packages.find.where"),
        (BASE + '[[tool.setuptools.ext-modules]]\nname = "x"\n', "ext-modules"),
        (BASE + '[tool.hatch.build.targets.wheel]\npackages = ["lib/a"]\n', "wheel.packages"),
        (BASE + "[tool.hatch.build.hooks.custom]\n", "build.hooks"),
    ],
)
def test_whatever_else_a_project_says_it_is_built(text: str, why: str, tmp_path: Path) -> None:
    assert why in (project(tmp_path, pyproject_toml=text).needs_build or "")


def test_a_setup_py_is_always_run(tmp_path: Path) -> None:
    assert project(tmp_path, setup_py="").needs_build
    assert project(tmp_path, setup_py="", pyproject_toml=BASE).needs_build


def test_a_setup_cfg_can_say_everything(tmp_path: Path) -> None:
    text = "[metadata]\nname = a\nversion = 1\n[options.entry_points]\nconsole_scripts =\n  run = a.b:main\n"
    found = project(tmp_path, setup_cfg=text)
    assert (found.name, found.version, found.scripts, found.needs_build) == ("a", "1", {"run": "a.b:main"}, None)
    found = project(tmp_path, setup_cfg=text + "[options]\ninstall_requires =\n  numpy\n  requests>=2\n")
    assert (found.dependencies, found.needs_build) == (["numpy", "requests>=2"], "it depends on numpy, requests>=2")
    assert project(tmp_path, setup_cfg="[options]\npackage_dir =\n  = lib\n").needs_build
    assert not project(tmp_path, setup_cfg="[options]\npackage_dir =\n  = src\n").needs_build


def test_a_folder_without_any_of_these_is_no_project(tmp_path: Path) -> None:
    assert read_project(tmp_path) is None


@pytest.mark.parametrize("text", ["[project", "[project]\nname = 7\n", "[project]\ndependencies = 'numpy'\n", "\udcff"])
def test_a_broken_file_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InstallFailed, match=r"pyproject\.toml cannot be read: "):
        read_project(tmp_path)


def test_a_broken_setup_cfg_is_told(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match=r"setup\.cfg cannot be read: "):
        project(tmp_path, setup_cfg="name = a\n")


@pytest.mark.parametrize(
    ("requirement", "is_met"),
    [
        ("pytest", True),
        ("pytest>=2", True),
        ("pytest >= 2, < 900", True),
        ("pytest>=900", False),
        ("pytest<2", False),
        ("no-such-distribution", False),
        ("pytest==8.0", False),
        ("pytest; python_version < '3'", False),
        ("python", True),
        (f"python>={sys.version_info[0]}.{sys.version_info[1]},<4", True),
        (f"python>={sys.version_info[0]}.{sys.version_info[1] + 1}", False),
    ],
)
def test_a_requirement_is_met_if_it_is_known_to_be(requirement: str, is_met: bool) -> None:
    assert is_met_here(requirement) is is_met
