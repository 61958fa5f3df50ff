"""`hearth app`: applications are registered from files, deployed from folders, shown and removed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import flamepy
from tests.conftest import SERVICES
from tests.hearth.cli.commands import Instance, environment, run
from tests.hearth.installers.packages import serving, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TWO = "metadata: {name: one}\nspec: {command: x, labels: [a, b]}\n---\nmetadata: {name: two}\n"


@pytest.fixture
def clean(instance: Instance) -> Iterator[Instance]:
    """The instance, with only the built-in applications before and after."""
    yield instance
    for told in instance.json("app", "list"):
        if not told["name"].startswith("flm"):
            assert instance.run("app", "unregister", told["name"]).returncode == 0


def project(folder: Path) -> Path:
    """A service in a project whose only script starts it."""
    files = {
        "pyproject.toml": b'[project]\nname = "acting"\nversion = "1"\n[project.scripts]\nact = "acting:main"\n',
        "src/acting.py": (SERVICES / "actor.py").read_bytes() + b"\n\ndef main():\n    flamepy.run(Actor())\n",
        "__pycache__/left.out": b"",
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def program(folder: Path, name: str = "tool") -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def lines_of(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {title: value.strip() for title, _, value in pairs}


# -- register, view, unregister


def test_the_applications_of_a_file_are_registered(clean: Instance, tmp_path: Path) -> None:
    (tmp_path / "apps.yaml").write_text(TWO)
    told = clean.run("app", "register", "-f", str(tmp_path / "apps.yaml"))
    assert told.stdout == "Application one was registered.\nApplication two was registered.\n"
    assert (told.returncode, told.stderr) == (0, "")
    assert {"one", "two"} < {application["name"] for application in clean.json("app", "list")}
    assert clean.json("app", "view", "one")["labels"] == ["a", "b"]


def test_a_file_may_come_from_stdin_and_the_answer_be_json(clean: Instance) -> None:
    told = clean.run("app", "register", "--file", "-", "--json", stdin=TWO)
    assert json.loads(told.stdout) == [{"name": "one"}, {"name": "two"}]
    assert json.loads(clean.run("app", "unregister", "two", "--json").stdout) == {"name": "two"}


def test_of_a_wrong_file_nothing_is_registered(clean: Instance, tmp_path: Path) -> None:
    path = tmp_path / "apps.yaml"
    path.write_text(TWO + "spec: {comand: x}\n")
    told = clean.refusal("app", "register", "-f", str(path))
    assert told == f"{path}:5: spec has an unknown key 'comand', did you mean 'command'?"
    assert len(clean.json("app", "list")) == 3
    path.write_bytes(b"\xff\xfe\x00")
    assert "is no UTF-8 text" in clean.refusal("app", "register", "-f", str(path))


def test_what_the_instance_refuses_is_told(clean: Instance) -> None:
    assert "'../x' is not allowed" in clean.refusal("app", "register", "-f", "-", stdin="metadata: {name: ../x}")
    clean.run("app", "register", "-f", "-", stdin="metadata: {name: twice}")
    told = clean.refusal("app", "register", "-f", "-", stdin="metadata: {name: twice}")
    assert told == "application 'twice' is already registered; unregister it first"


def test_an_application_is_updated_as_a_whole(clean: Instance, tmp_path: Path) -> None:
    clean.run("app", "register", "-f", "-", stdin="metadata: {name: one}\nspec: {command: x, labels: [a], image: i}")
    (tmp_path / "apps.yaml").write_text("metadata: {name: one}\nspec: {command: y, max_instances: 3}\n")
    told = clean.run("app", "update", "-f", str(tmp_path / "apps.yaml"))
    assert (told.returncode, told.stdout, told.stderr) == (0, "Application one was updated.\n", "")
    one = clean.json("app", "view", "one")
    assert {key: one[key] for key in ("command", "max_instances", "labels", "image")} == {
        "command": "y",
        "max_instances": 3,
        "labels": None,
        "image": None,
    }
    assert clean.json("app", "update", "-f", str(tmp_path / "apps.yaml")) == [{"name": "one"}]


def test_an_application_that_is_unknown_or_in_use_is_not_updated(clean: Instance, tmp_path: Path) -> None:
    told = clean.refusal("app", "update", "-f", "-", stdin="metadata: {name: nobody}")
    assert told == "application 'nobody' not found; list them with: hearth app list"
    clean.run("app", "register", "-f", "-", stdin="metadata: {name: one}\nspec: {command: x}")
    session = clean.json("session", "create", "-a", "one")["id"]
    assert "has open sessions" in clean.refusal("app", "update", "-f", "-", stdin="metadata: {name: one}")
    clean.run("session", "close", session)
    (tmp_path / "apps.yaml").write_text("metadata: {name: one}\nspec: {comand: x}\n")
    assert "did you mean 'command'?" in clean.refusal("app", "update", "-f", str(tmp_path / "apps.yaml"))
    assert clean.json("app", "view", "one")["command"] == "x"


def test_an_application_is_viewed_line_by_line(clean: Instance) -> None:
    text = (
        "metadata: {name: shown}\nspec: {command: run, arguments: [-c, 'two words'], environments: {B: 2, A: '1 2'},"
        " working_directory: /opt, max_instances: 7, delay_release: 3661, url: 'file:///x', installer: binary,"
        " labels: [l, m], description: d, image: i, schema: {input: '{}'}}"
    )
    clean.run("app", "register", "-f", "-", stdin=text)
    told = lines_of(clean.run("app", "view", "shown").stdout)
    assert told == {
        "Name": "shown",
        "Description": "d",
        "Shim": "Host",
        "Image": "i",
        "URL": "file:///x",
        "Installer": "binary",
        "Labels": "l, m",
        "Command": "run",
        "Arguments": "-c 'two words'",
        "Environments": "'A=1 2' B=2",
        "WorkingDir": "/opt",
        "Max Instances": "7",
        "Delay Release": "1h1m1s",
        "Schema Input": "{}",
        "Schema Output": "-",
        "Schema Common Data": "-",
    }


@pytest.mark.parametrize("command", ["view", "unregister"])
def test_an_unknown_application_is_an_error(instance: Instance, command: str) -> None:
    assert instance.refusal("app", command, "nobody") == (
        "application 'nobody' not found; list them with: hearth app list"
    )


# -- deploy


def dry_run(folder: Path, *arguments: str) -> Any:
    told = run(environment(folder), "app", "deploy", "--dry-run", "-o", "json", *arguments)
    assert (told.returncode, told.stderr) == (0, "")
    return json.loads(told.stdout)


def refusal(folder: Path, *arguments: str) -> str:
    told = run(environment(folder), "app", "deploy", "--dry-run", *arguments)
    assert told.returncode in (1, 2), told.stdout
    return told.stderr


def test_a_program_would_be_deployed_as_a_binary_without_any_instance(folder: Path) -> None:
    told = dry_run(folder, "--name", "tools", "--application", str(program(folder)))
    key = f"tools/pkg/tools-{told['sha256'][:16]}.tar.gz"
    url = f"file://{folder}/.local/state/hearth/packages/{key}"
    application = told.pop("application")
    assert told == {
        "name": "tools",
        "input_kind": "executable-file",
        "installer": "binary",
        "command": "tool",
        "arguments": None,
        "object_key": key,
        "url": url,
        "sha256": told["sha256"],
        "dry_run": True,
    }
    assert (application["shim"], application["command"], application["url"]) == ("host", "tool", url)
    assert not (folder / ".local").exists()


def test_a_project_would_be_deployed_with_its_script(folder: Path) -> None:
    told = dry_run(folder, "--name", "acting", "--application", str(project(folder / "p")))
    assert (told["input_kind"], told["installer"], told["command"]) == ("directory", "python", "act")


def test_a_package_that_is_packed_already_is_taken_as_it_is(folder: Path) -> None:
    path = folder / "packed.tar.gz"
    path.write_bytes(tar_of({"./bin/run": b"", "./README": b""}, executable=("./bin/run",)))
    told = dry_run(folder, "--name", "app", "--application", str(path))
    assert (told["input_kind"], told["installer"], told["command"]) == ("tar.gz", "binary", "run")
    path.write_bytes(tar_of({"../bin/run": b""}))
    assert "its entry '../bin/run' leads out of the archive" in refusal(
        folder, "--name", "app", "--application", str(path)
    )


def test_options_go_before_what_the_package_tells(folder: Path) -> None:
    (folder / "in.json").write_text('{"type": "string"}')
    told = dry_run(
        *(folder, "--name", "app", "--application", str(project(folder / "p")), "--shim", "wasm", "--image", "i"),
        *("--description", "d", "--label", "a", "--label", "b", "--command", "python3", "--argument", "-m"),
        *("--argument", "x", "--env", "A=b=c", "--env", "E=", "--working-directory", "/w", "--max-instances", "3"),
        *("--delay-release", "60", "--installer", "binary", "--schema-input", f"@{folder}/in.json"),
        *("--schema-output", "{}", "--schema-common-data", "true"),
    )
    application = told["application"]
    del application["url"]
    assert application == {
        "shim": "wasm",
        "image": "i",
        "description": "d",
        "labels": ["a", "b"],
        "command": "python3",
        "arguments": ["-m", "x"],
        "environments": {"A": "b=c", "E": ""},
        "working_directory": "/w",
        "max_instances": 3,
        "delay_release": 60,
        "schema": {"input": '{"type": "string"}', "output": "{}", "common_data": "true"},
        "installer": "binary",
    }


def test_the_same_program_gets_the_same_key(folder: Path) -> None:
    first, second = (
        dry_run(folder, "--name", "a", "--application", str(project(folder / name))) for name in ("one", "two")
    )
    assert first["object_key"] == second["object_key"]
    (folder / "two/more").touch()
    third = dry_run(folder, "--name", "a", "--application", str(folder / "two"))
    assert first["object_key"] != third["object_key"]


def test_a_summary_shows_times_as_people_say_them(folder: Path) -> None:
    arguments = ("--name", "tools", "--application", str(program(folder)), "--delay-release", "60")
    told = run(environment(folder), "app", "deploy", "--dry-run", *arguments).stdout
    assert told.startswith("Application tools would be deployed; nothing was stored or registered.\n")
    shown = lines_of(told)
    assert (shown["Delay Release"], shown["Input"], shown["Command"]) == ("1m", "executable-file", "tool")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--name", "../x"], "Error: application name '../x' is not allowed"),
        (["--name", "a", "--env", "novalue"], "'novalue' is not KEY=VALUE"),
        (["--name", "a", "--env", "=x"], "'=x' is not KEY=VALUE"),
        (["--name", "a", "--schema-input", "@/no/such"], "/no/such: No such file"),
        (["--name", "a", "--delay-release", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_options_are_told(folder: Path, arguments: list[str], text: str) -> None:
    assert text in refusal(folder, "--application", str(program(folder)), *arguments)


def test_what_cannot_be_deployed_is_told(folder: Path) -> None:
    plain = folder / "text"
    plain.touch()
    assert f"if it is a program: chmod +x {plain}" in refusal(folder, "--name", "a", "--application", str(plain))
    (folder / "empty").mkdir()
    told = refusal(folder, "--name", "a", "--application", str(folder / "empty"))
    assert "it cannot be told how to start it" in told
    assert told.endswith("say it with --command\n")


def configure(folder: Path, storage: str) -> None:
    (folder / ".flame").mkdir(exist_ok=True)
    (folder / ".flame/flame.yaml").write_text(
        f"current-context: a\ncontexts:\n- name: a\n  package: {{storage: '{storage}', excludes: ['*.log']}}\n"
    )


def test_the_configured_storage_is_used_and_one_that_is_not_served_refused(folder: Path) -> None:
    configure(folder, "http://[::1]:80/store")
    told = dry_run(folder, "--name", "tools", "--application", str(program(folder)))
    assert told["url"] == f"http://[::1]:80/store/{told['object_key']}"
    configure(folder, "grpc://127.0.0.1:9090")
    assert "the object cache is not here yet" in refusal(folder, "--name", "a", "--application", str(program(folder)))


def test_a_deployed_project_serves(clean: Instance, tmp_path: Path) -> None:
    told = clean.run("app", "deploy", "--name", "acting", "--application", str(project(tmp_path)))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("Application acting was deployed.\n")
    connection = flamepy.connect(clean.uri)
    session = connection.create_session(flamepy.SessionAttributes("acting", max_instances=1))
    assert session.run(b"echoed").result(30) == b"echoed"
    session.close()
    connection.close()
    assert clean.refusal("app", "deploy", "--name", "acting", "--application", str(tmp_path)) == (
        "application 'acting' is already registered; unregister it first"
    )


def test_a_program_is_deployed_through_a_server(clean: Instance, tmp_path: Path) -> None:
    with serving() as server:
        configure(tmp_path, server.url)
        path = program(tmp_path)
        key = dry_run(tmp_path, "--name", "tools", "--application", str(path))["object_key"]
        server.answers[f"/{key}"] = (201, {}, b"")
        env = environment(tmp_path) | {"FLAME_ENDPOINT": clean.uri}
        told = run(env, "app", "deploy", "--name", "tools", "--application", str(path), "--json")
        assert json.loads(told.stdout)["url"] == f"{server.url}/{key}"
        assert [(method, path) for method, path, _, _ in server.requests] == [("PUT", f"/{key}")]
    assert clean.json("app", "view", "tools")["url"] == f"{server.url}/{key}"


def test_the_yaml_of_a_dry_run_can_be_registered(clean: Instance, tmp_path: Path) -> None:
    arguments = ("--name", "acting", "--application", str(project(tmp_path)), "--env", "A=1", "--delay-release", "5")
    told = clean.run("app", "deploy", "--dry-run", "-o", "yaml", *arguments)
    assert yaml.safe_load(told.stdout)["metadata"] == {"name": "acting"}
    assert clean.run("app", "register", "-f", "-", stdin=told.stdout).returncode == 0
    shown = clean.json("app", "view", "acting")
    assert (shown["environments"], shown["delay_release"], shown["installer"]) == ({"A": "1"}, 5, "python")
