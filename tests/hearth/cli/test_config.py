from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flux import Flux

if TYPE_CHECKING:
    from tests.hearth.cli.commands import Instance

LOADED = {"access": {"allow-guest-user": False, "note": "ä b"}, "list": [1, {"x": None}], "n": 2.5}


@pytest.fixture(autouse=True)
def loaded(instance: Instance) -> None:
    with Flux(instance.uri) as handle:
        handle.rpc("config.load", LOADED).get()


def test_all_of_it_is_readable_json(instance: Instance) -> None:
    told = instance.run("config", "get").stdout
    assert json.loads(told) == LOADED
    assert told.count("\n") > 5
    assert instance.json("config", "get") == LOADED
    assert instance.run("config", "get", "--json").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "text"),
    [("access.note", "ä b"), ("access.allow-guest-user", "false"), ("n", "2.5"), ("list", None), ("access", None)],
)
def test_a_key_is_a_path(instance: Instance, key: str, text: str | None) -> None:
    value = LOADED
    for name in key.split("."):
        value = value[name]  # type: ignore[assignment]  # the test knows what is there
    assert instance.json("config", "get", key) == value
    if text is not None:
        assert instance.run("config", "get", key).stdout == f"{text}\n"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("nothing", "there is no 'nothing' in the configuration"),
        ("access.nothing", "there is no 'nothing' in 'access'"),
        ("access.note.x", "there is no 'x' in 'access.note'"),
        ("", "there is no '' in the configuration"),
    ],
)
def test_a_path_that_leads_nowhere_says_where(instance: Instance, key: str, text: str) -> None:
    assert instance.refusal("config", "get", key) == f"{text}; see what there is: hearth config get"
