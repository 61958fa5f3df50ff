from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.hearth.cli.commands import Running, environment, run


def test_the_first_line_tells_the_address(folder: Path) -> None:
    with Running(environment(folder), "up", "--rundir", str(folder / "run"), stderr=subprocess.DEVNULL) as up:
        assert up.line() == f"ready local://{folder}/run/local-0"


def test_without_a_rundir_it_serves_where_commands_look(folder: Path) -> None:
    env = environment(folder)
    with Running(env, "up", stderr=subprocess.DEVNULL) as up:
        assert up.line() == f"ready local://{folder}/hearth/local-0"
        assert run(env, "status").returncode == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_and_removes_the_socket(folder: Path, signum: signal.Signals) -> None:
    with Running(environment(folder), "up", "--rundir", str(folder / "run"), stderr=subprocess.DEVNULL) as up:
        up.line()
        assert (folder / "run" / "local-0").is_socket()
        assert up.stop(signum) == 0
    assert not (folder / "run" / "local-0").exists()


def test_a_socket_left_by_a_killed_instance_is_replaced(folder: Path) -> None:
    env = environment(folder)
    with Running(env, "up", stderr=subprocess.DEVNULL) as killed:
        killed.line()
        killed.stop(signal.SIGKILL)
    assert (folder / "hearth" / "local-0").is_socket()
    with Running(env, "up", stderr=subprocess.DEVNULL) as up:
        assert up.line().startswith("ready ")
        assert run(env, "status").returncode == 0


def test_a_second_instance_in_a_folder_is_refused_and_the_first_goes_on(folder: Path) -> None:
    env = environment(folder)
    with Running(env, "up", stderr=subprocess.DEVNULL) as first:
        first.line()
        second = run(env, "up")
        assert second.returncode == 1
        assert f"Error: an instance is already running in {folder}/hearth; " in second.stderr
        assert run(env, "status").returncode == 0


def test_guests_that_are_allowed_but_cannot_reach_the_socket_are_told_of(folder: Path) -> None:
    configuration = folder / "hearth.toml"
    configuration.write_text("[access]\nallow-guest-user = true\n")
    for mode, is_told in [(0o700, True), (0o711, False)]:
        rundir = folder / f"run{mode:o}"
        rundir.mkdir(mode=mode)
        with Running(environment(folder), "up", "--rundir", str(rundir), "--config", str(configuration)) as up:
            up.line()
            assert up.stop(signal.SIGTERM) == 0
            assert up.process.stderr is not None
            assert (f"chmod 711 {rundir}" in up.process.stderr.read()) is is_told


def _folder_of_someone_else(folder: Path) -> Path:
    if os.getuid() != 0:
        return Path("/")  # the administrator's
    os.chown(folder, 65534, -1)
    return folder


def test_a_folder_of_someone_else_is_refused(folder: Path) -> None:
    theirs = _folder_of_someone_else(folder)
    up = run(environment(folder), "up", "--rundir", str(theirs))
    assert up.returncode == 1
    assert up.stderr.startswith(f"Error: {theirs} belongs to uid ")


def test_a_folder_that_others_may_write_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    up = run(environment(folder), "up", "--rundir", str(folder))
    assert (up.returncode, up.stderr) == (
        1,
        f"Error: {folder} may be written by others (mode 777); chmod 700 it\n",
    )


@pytest.mark.parametrize("below", ["", "/run"])
def test_what_is_no_folder_is_refused(folder: Path, below: str) -> None:
    (folder / "file").touch()
    up = run(environment(folder), "up", "--rundir", f"{folder}/file{below}")
    assert (up.returncode, up.stderr) == (
        1,
        f"Error: {folder}/file{below} is not a folder; choose another one\n",
    )


def test_a_path_too_long_for_a_socket_is_refused(folder: Path) -> None:
    up = run(environment(folder), "up", "--rundir", str(folder / ("x" * 108)))
    assert up.returncode == 1
    assert up.stderr.splitlines()[-1].startswith("Error: socket path is over 107 bytes, choose a shorter --rundir: ")
    assert up.stdout == ""
