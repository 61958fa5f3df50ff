from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.hearth.cli.commands import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hearth.cli.commands import Instance


@pytest.fixture
def store(instance: Instance) -> Iterator[Instance]:
    """An instance whose store is empty when the test is over."""
    yield instance
    names = instance.run("kvs", "ls").stdout.split()
    assert not names or instance.run("kvs", "rm", *names).returncode == 0


def output(instance: Instance, *arguments: str) -> str:
    ran = instance.run("kvs", *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def failure(instance: Instance, *arguments: str) -> tuple[int, str]:
    ran = instance.run("kvs", *arguments)
    assert ran.stdout == ""
    return ran.returncode, ran.stderr.splitlines()[-1]


def test_what_was_put_is_printed_as_it_was(store: Instance) -> None:
    assert output(store, "put", "a.text=hello = ü", 'a.json={"x": [1]}', "a.empty=") == ""
    assert output(store, "get", "a.text") == "hello = ü\n"
    assert output(store, "get", "a.json") == '{"x": [1]}\n'
    assert output(store, "get", "a.empty") == "\n"
    assert json.loads(output(store, "get", "--json", "a.json")) == {"x": [1]}
    assert json.loads(output(store, "get", "--json", "a.text")) == "hello = ü"


def test_a_directory_is_listed(store: Instance) -> None:
    output(store, "put", "d.sub.k=1", "d.v=2")
    assert output(store, "ls") == "d.\n"
    assert output(store, "ls", "d") == "sub.\nv\n"
    listed = json.loads(output(store, "ls", "--json", "d"))
    assert listed == [{"name": "sub", "type": "dirref"}, {"name": "v", "type": "val"}]


def test_keys_are_removed_all_or_none(store: Instance) -> None:
    output(store, "put", "d.x=1", "e=2", "stays=3")
    assert failure(store, "rm", "d", "none")[0] == 1
    root = json.loads(output(store, "rm", "--json", "d", "e"))
    assert root["rootref"].startswith("sha1-")
    assert output(store, "ls") == "stays\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("get", "none"), 1, "Error: key 'none' does not exist; list them: hearth kvs ls"),
        (("get", "d"), 1, "Error: 'd' is a directory; list it: hearth kvs ls d"),
        (("ls", "d.k"), 1, "Error: 'd.k' is a value; print it: hearth kvs get d.k"),
        (("put", ".=1"), 1, "Error: key '.': the root cannot be written"),
        (("get", ""), 1, "Error: the key is empty; the root is called ."),
        (("put", "k"), 2, "Error: 'k' is no KEY=VALUE"),
        (("put", "=1"), 2, "Error: '=1' is no KEY=VALUE"),
        (("get", "-N", "none", "k"), 1, "Error: key 'k': the namespace does not exist"),
        (("watch", "none"), 1, "Error: key 'none' does not exist; list them: hearth kvs ls"),
    ],
)
def test_a_mistake_is_told_with_its_cure(store: Instance, arguments: tuple[str, ...], code: int, text: str) -> None:
    output(store, "put", "d.k=1")
    assert failure(store, *arguments) == (code, text)


def test_a_watch_prints_each_value_on_a_line(store: Instance) -> None:
    with Running(store.env, "kvs", "watch", "-W", "-c", "3", "w.k") as command:
        for value in ("one\ntwo", '{"a": "ü"}'):
            output(store, "put", f"w.k={value}")
            if value == "one\ntwo":
                assert command.line() == "one\\ntwo"
        output(store, "put", "w.k=3")
        assert [command.line() for _ in range(3)] == ['{"a": "ü"}', "3", ""]
        assert command.end() == (0, "")


def test_an_interrupted_watch_exits_with_130(store: Instance) -> None:
    output(store, "put", "w.k=1")
    with Running(store.env, "kvs", "watch", "--json", "w.k") as command:
        assert command.line() == "1"
        assert command.stop(signal.SIGINT) == 130


def test_nobody_at_the_address_is_told_with_its_cure(store: Instance) -> None:
    code, text = failure(store, "get", "--uri", "local:///none/local-0", "k")
    assert (code, text.endswith("start one: hearth up")) == (1, True)
