"""From a request to programs that run, with real archives, builds, pip and uv; none of it takes a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from hearth.installers.failure import InstallFailed
from hearth.installers.install import install
from hearth.installers.installation import Request, Result
from hearth.installers.python import OWN_VERSION, find_uv, install_python
from tests.conftest import SOURCE
from tests.hearth.installers.packages import PLAIN, built_project, tar_of, zip_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hearth.installers.cache import InstallCache
    from hearth.installers.installation import Installation
    from tests.hearth.installers.packages import Server

UV = find_uv(os.environ)
TOOLS = [
    pytest.param(None, id="pip"),
    pytest.param(UV, id="uv", marks=pytest.mark.skipif(UV is None, reason="uv is not installed")),
]


def request_for(path: Path, data: bytes, installer: str = "python", application: str = "app") -> Request:
    path.write_bytes(data)
    return Request(installer, path.as_uri(), OWN_VERSION, application)


def output_of(installation: Installation, *command: str) -> str:
    """What a command prints in the environment of the application's processes."""
    environment = {"PATH": os.environ["PATH"]}
    installation.apply(environment)
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# -- Python


@pytest.mark.parametrize("name", ["p.tar.gz", "p.tgz", "p.zip"])
def test_a_plain_project_is_used_as_it_lies_there(name: str, cache: InstallCache, tmp_path: Path) -> None:
    data = zip_of(PLAIN) if name.endswith(".zip") else tar_of(PLAIN)
    _, installation = install(request_for(tmp_path / name, data), cache)
    assert output_of(installation, "plain") == "plain runs\n"
    program = "import importlib.metadata as m, plain.main; print(m.version('plain'), plain.main.__file__)"
    version, file = output_of(installation, sys.executable, "-c", program).split()
    assert version == "1.5"
    assert file.startswith(installation.variables["FLAME_APP_DIR"])
    assert "used as it lies there" in (cache.logs / "app.log").read_text()


def test_the_project_may_be_in_the_one_folder_of_the_archive(cache: InstallCache, tmp_path: Path) -> None:
    data = tar_of({f"plain-1.5/{name}": content for name, content in PLAIN.items()})
    _, installation = install(request_for(tmp_path / "p.tgz", data), cache)
    assert output_of(installation, "plain") == "plain runs\n"
    assert installation.variables["FLAME_APP_DIR"].endswith("/source/plain-1.5")


def unpack_into(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.mark.parametrize("uv", TOOLS)
def test_a_project_with_dependencies_is_built_and_installed_with_them(uv: str | None, tmp_path: Path) -> None:
    # What is about our own process would break the build: there is a json.py that raises.
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong one')")
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "PYTHONWARNINGS": "error",
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }
    unpack_into(tmp_path, {**built_project(tmp_path), "json.py": b"raise RuntimeError('the wrong one, too')"})
    installation = install_python(tmp_path, OWN_VERSION, tmp_path / "log", environment, uv=uv).below(str(tmp_path))
    assert output_of(installation, "built") == "built with of the dependency\n"
    assert "needed" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("uv", TOOLS)
def test_a_build_that_fails_is_told_with_its_last_lines(uv: str | None, tmp_path: Path) -> None:
    files = built_project(tmp_path) | {"backend.py": b"def build_wheel(*_):\n    raise RuntimeError('out of flour')\n"}
    unpack_into(tmp_path, files)
    environment = os.environ | {"PIP_CACHE_DIR": str(tmp_path / "pip"), "UV_CACHE_DIR": str(tmp_path / "uv")}
    with pytest.raises(InstallFailed) as failed:
        install_python(tmp_path, OWN_VERSION, tmp_path / "log", environment, uv=uv)
    tool = "pip" if uv is None else "uv"
    assert f"{tool} ended with status 1; all it said is in {tmp_path / 'log'}" in str(failed.value)
    assert "out of flour" in (tmp_path / "log").read_text()


def test_another_python_that_is_not_there_is_told(tmp_path: Path) -> None:
    unpack_into(tmp_path, built_project(tmp_path))
    with pytest.raises(InstallFailed, match=r"FLAME_PYTHON_VERSION is 3\.99, and there is neither uv nor python3\.99"):
        install_python(tmp_path, "3.99", tmp_path / "log", os.environ, uv=None)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("p.tgz", tar_of({"main.py": b""}), "is no Python project: it has none of pyproject.toml, setup.py, setup.cfg"),
        ("p.tgz", tar_of({"a/pyproject.toml": b"", "b": b""}), "is no Python project"),
        ("p.whl", zip_of(PLAIN), "a Python project comes as .tar.gz, .tgz or .zip"),
        ("p.tgz", tar_of({"pyproject.toml": b"[project"}), "pyproject.toml cannot be read"),
        (
            "p.tgz",
            tar_of({"pyproject.toml": b'[project]\nname = "a"\nversion = "1"\n[project.scripts]\na = "os;import x"\n'}),
            "script 'a' is 'os;import x', want module:function",
        ),
        (
            "p.tgz",
            tar_of({"pyproject.toml": b'[project]\nname = "a"\nversion = "1"\n[project.scripts]\n"../a" = "a:b"\n'}),
            "script '../a'",
        ),
    ],
)
def test_what_is_no_python_project_is_told_and_leaves_nothing(
    name: str, data: bytes, text: str, cache: InstallCache, tmp_path: Path
) -> None:
    request = request_for(tmp_path / name, data)
    with pytest.raises(InstallFailed) as failed:
        install(request, cache)
    assert text in str(failed.value)
    for folder in ("entries", "partial", "scratch"):
        assert os.listdir(cache.folder / folder) == []


# -- programs

PROGRAM = b'#!/bin/sh\necho "$FLAME_APP_DIR|$LD_LIBRARY_PATH"\n'


def test_programs_are_found_in_bin_and_at_the_top_and_libraries_in_libs(cache: InstallCache, tmp_path: Path) -> None:
    data = tar_of({"bin/inner": PROGRAM, "outer": PROGRAM, "libs/x.so": b""}, executable=("bin/inner", "outer"))
    _, installation = install(request_for(tmp_path / "b.tgz", data, "binary"), cache)
    source = installation.variables["FLAME_APP_DIR"]
    for command in ("inner", "outer"):
        assert output_of(installation, command) == f"{source}|{source}/libs\n"


def test_a_program_needs_no_archive(cache: InstallCache, tmp_path: Path) -> None:
    _, installation = install(request_for(tmp_path / "my program", PROGRAM, "binary"), cache)
    assert output_of(installation, "my program").startswith(installation.variables["FLAME_APP_DIR"])


# -- the cache


def test_the_same_content_is_installed_once_whoever_has_it_and_wherever_it_comes_from(
    cache: InstallCache, tmp_path: Path, server: Server
) -> None:
    (tmp_path / "b").mkdir()
    server.answers["/p.tgz"] = (200, {}, tar_of(PLAIN))
    first = install(request_for(tmp_path / "p.tgz", tar_of(PLAIN)), cache)
    assert install(request_for(tmp_path / "b/p.tgz", tar_of(PLAIN), application="other"), cache) == first
    assert install(Request("python", f"{server.url}/p.tgz", OWN_VERSION, "third"), cache) == first
    assert os.listdir(cache.folder / "entries") == [first[0]]


def test_two_processes_that_install_the_same_at_the_same_time_build_it_once(
    cache: InstallCache, tmp_path: Path
) -> None:
    """As two instances of one user do."""
    files = built_project(tmp_path)
    note = f"    open({str(tmp_path / 'builds')!r}, 'a').write('built ')\n    name ="
    files["backend.py"] = files["backend.py"].replace(b"    name =", note.encode())
    data = msgspec.json.encode(request_for(tmp_path / "p.tgz", tar_of(files)))
    command = [sys.executable, "-m", "hearth.installers", str(cache.folder)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cache.folder)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.close()
    results = []
    for process in processes:
        with process:
            assert process.stdout is not None
            results.append(msgspec.json.decode(process.stdout.read(), type=Result))
    assert results[0].installation is not None, results[0].failure
    assert results == [results[0]] * 3
    assert (tmp_path / "builds").read_text() == "built "
    assert len(os.listdir(cache.folder / "entries")) == 1


def test_changed_content_under_the_same_url_is_installed_anew(cache: InstallCache, tmp_path: Path) -> None:
    changed = PLAIN | {"src/plain/main.py": b"def main():\n    print('something new')\n"}
    _, before = install(request_for(tmp_path / "p.tgz", tar_of(PLAIN)), cache)
    _, after = install(request_for(tmp_path / "p.tgz", tar_of(changed)), cache)
    assert (output_of(before, "plain"), output_of(after, "plain")) == ("plain runs\n", "something new\n")


def test_another_version_of_python_is_installed_apart(cache: InstallCache, tmp_path: Path) -> None:
    request = request_for(tmp_path / "p.tgz", tar_of(PLAIN))
    other = Request("python", request.url, "3.99", "app")
    assert install(request, cache)[0] != install(other, cache)[0]


def test_what_was_fetched_is_used_while_the_server_is_down_as_long_as_it_is_there(
    cache: InstallCache, server: Server
) -> None:
    request = Request("python", f"{server.url}/p.tgz", OWN_VERSION, "app")
    server.answers["/p.tgz"] = (200, {"ETag": "1"}, tar_of(PLAIN))
    key, installation = install(request, cache)
    server.answers["/p.tgz"] = (503, {}, b"")
    assert install(request, cache) == (key, installation)
    shutil.rmtree(cache.folder / "entries" / key)
    with pytest.raises(InstallFailed, match="503"):
        install(request, cache)
    server.answers["/p.tgz"] = (200, {}, tar_of(PLAIN))
    assert install(request, cache) == (key, installation)
    assert "If-None-Match" not in server.requests[-1][2], "a 304 would have left us without the package"
