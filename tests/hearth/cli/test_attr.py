from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.hearth.cli.commands import Instance


def test_a_value_is_printed_bare(instance: Instance) -> None:
    assert instance.run("attr", "get", "local-uri").stdout == f"{instance.uri}\n"


def test_a_value_is_a_json_object(instance: Instance) -> None:
    assert instance.json("attr", "get", "rank") == {"name": "rank", "value": "0", "immutable": True}
    assert instance.json("attr", "get", "log-stderr-level") == {
        "name": "log-stderr-level",
        "value": "3",
        "immutable": False,
    }


def test_a_vendors_attribute_is_made_changed_and_removed(instance: Instance) -> None:
    for value in ("one", "two words", ""):
        assert instance.run("attr", "set", "--force", "vendor.x", value).stdout == ""
        assert instance.json("attr", "get", "vendor.x")["value"] == value
    assert instance.json("attr", "set", "-f", "vendor.x", "é") == {"name": "vendor.x", "value": "é"}
    assert instance.json("attr", "rm", "vendor.x") == {"name": "vendor.x"}
    assert "unknown" in instance.refusal("attr", "get", "vendor.x")
    assert instance.run("attr", "rm", "vendor.x").returncode == 0


def test_a_value_stays_on_one_line_for_people(instance: Instance) -> None:
    instance.run("attr", "set", "vendor.lines", "a\nb")
    assert instance.run("attr", "get", "vendor.lines").stdout == "a\\nb\n"
    assert instance.json("attr", "get", "vendor.lines")["value"] == "a\nb"


def test_names_are_listed_in_order(instance: Instance) -> None:
    names = instance.run("attr", "list").stdout.splitlines()
    assert names == sorted(names) == instance.json("attr", "list")
    assert {"rank", "size", "parent-uri"} <= set(names)


def test_values_are_a_table(instance: Instance) -> None:
    lines = instance.run("attr", "list", "-v").stdout.splitlines()
    assert lines[0].split() == ["Name", "Value"]
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in lines[1:])
    assert (rows["hostname"], rows["parent-uri"]) == (os.uname().nodename, "-")


def test_values_are_json_objects(instance: Instance) -> None:
    told = {each["name"]: each for each in instance.json("attr", "list", "--values")}
    assert told["size"] == {"name": "size", "value": "1", "immutable": True}
    assert told["parent-uri"] == {"name": "parent-uri", "value": None, "immutable": False}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("get nothing", "attribute 'nothing' is unknown, or has no value yet; list them: hearth attr list"),
        ("set nothing 1", "attribute 'nothing' is unknown; list them: hearth attr list"),
        ("set rank 1", "attribute 'rank': attribute may not be updated"),
        ("set --force rank 1", "attribute 'rank' is constant, or not yours to change"),
        ("set log-stderr-level 8", "attribute 'log-stderr-level': invalid level"),
        ("rm rank", "attribute 'rank' is constant, or not yours to remove"),
    ],
)
def test_a_refusal_is_told_in_one_line(instance: Instance, arguments: str, text: str) -> None:
    assert instance.refusal("attr", *arguments.split()) == text


def test_force_changes_what_is_not_constant(instance: Instance) -> None:
    assert instance.run("attr", "set", "-f", "tbon.topo", "kary:2").returncode == 0
    assert instance.json("attr", "get", "tbon.topo")["value"] == "kary:2"


def test_a_name_that_is_no_text_is_misuse(instance: Instance) -> None:
    told = instance.run("attr", "get", os.fsdecode(b"\xff"))
    assert (told.returncode, "is no UTF-8 text" in told.stderr) == (2, True)
