from __future__ import annotations

import errno
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.hearth.cli.commands import environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hearth.cli.commands import Instance

BUS_COMMANDS = [
    line.split()
    for line in (
        "attr get rank",
        "attr list",
        "attr rm vendor.x",
        "attr set vendor.x 1",
        "config get",
        "connection list",
        "event pub topic",
        "event sub",
        "log append text",
        "log clear",
        "log follow",
        "log show",
        "service list",
        "service ping broker",
    )
]
COMMANDS = [["status"], ["app", "list"], ["session", "list"], ["task", "list", "any"], *BUS_COMMANDS]
FLAME_YAML = """
current-context: mine
contexts:
  - name: mine
    cluster:
      endpoint: {}
"""


def _write_configuration(home: Path, text: str) -> None:
    (home / ".flame").mkdir()
    (home / ".flame" / "flame.yaml").write_text(text)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_where_no_instance_is_running_the_error_tells_how_to_start_one(folder: Path, command: list[str]) -> None:
    told = run(environment(folder), *command)
    assert (told.returncode, told.stdout, told.stderr) == (
        1,
        "",
        "Error: no instance is running; start one: hearth up\n",
    )


@pytest.mark.parametrize(
    "command", [["status"], ["task", "list", "any"], ["event", "sub"], ["log", "show"], ["ping"]], ids=" ".join
)
def test_where_nobody_answers_the_error_names_the_address(folder: Path, command: list[str]) -> None:
    told = run(environment(folder), *command, "--uri", "local:///nowhere/local-0")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("Error: no instance answers at local:///nowhere/local-0 ")
    assert told.stderr.endswith("; start one: hearth up\n")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["status"], ["attr", "get", "rank"]], ids=" ".join)
def test_an_instance_that_lets_us_not_in_is_not_said_to_be_down(folder: Path, command: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(folder / "socket"))
        theirs.listen()

        def refuse() -> None:
            peer, _ = theirs.accept()
            with peer:
                peer.send(bytes([errno.EPERM]))

        server = threading.Thread(target=refuse)
        server.start()
        told = run(environment(folder), *command, "--uri", f"local://{folder}/socket")
        server.join()
    assert told.returncode == 1
    assert told.stderr == (
        f"Error: the instance at local://{folder}/socket is somebody else's (Unable to connect to Flux:"
        " Operation not permitted); start one of your own: hearth up\n"
    )


def test_the_option_comes_before_the_environment(instance: Instance) -> None:
    env = instance.env | {"FLAME_ENDPOINT": "local:///nowhere"}
    assert run(env, "status", "--uri", instance.uri).returncode == 0


@pytest.mark.parametrize(
    ("command", "first"), [("status", "/flame/"), *((" ".join(each), "/flux/") for each in BUS_COMMANDS)]
)
def test_each_kind_of_command_has_its_first_variable(folder: Path, command: str, first: str) -> None:
    env = environment(folder, FLAME_ENDPOINT="local:///flame/local-0", FLUX_URI="local:///flux/local-0")
    assert first in run(env, *command.split()).stderr


@pytest.mark.parametrize("variable", ["FLAME_ENDPOINT", "FLUX_URI"])
def test_either_variable_will_do(instance: Instance, folder: Path, variable: str) -> None:
    assert run(environment(folder, **{variable: instance.uri}), "status").returncode == 0


def test_the_environment_comes_before_the_file(instance: Instance, folder: Path) -> None:
    _write_configuration(folder, FLAME_YAML.format("local:///nowhere"))
    assert run(environment(folder, FLUX_URI=instance.uri), "status").returncode == 0


def test_the_file_names_the_instance(instance: Instance, folder: Path) -> None:
    _write_configuration(folder, FLAME_YAML.format(instance.uri))
    assert run(environment(folder), "status").returncode == 0


@pytest.mark.parametrize("command", ["status", "event sub", "ping"])
def test_a_wrong_file_is_an_error_that_names_it(folder: Path, command: str) -> None:
    _write_configuration(folder, "current-context: mine\n")
    told = run(environment(folder), *command.split())
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: {folder}/.flame/flame.yaml: current-context 'mine' is none of")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a socket that belongs to someone else")
def test_a_socket_of_someone_else_in_the_usual_place_is_not_ours(folder: Path) -> None:
    path = folder / "hearth" / "local-0"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(path))
        os.chown(path, 65534, -1)
        assert "no instance is running" in run(environment(folder), "status").stderr
