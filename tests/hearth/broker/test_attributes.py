"""The rules of `attr`: which names exist, who may change them, which stay."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from hearth.broker.attribute_table import CONSTANT, PLAIN
from hearth.broker.attributes import Attributes, AttributeService
from tests.hearth.broker.wire import Client, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


def put(client: Client, name: str, value: object = "v", **more: object) -> tuple[int, str | None]:
    answer = client.ask("attr.set", {"name": name, "value": value, **more})
    return answer.aux1, text_of(answer)


def get(client: Client, name: str) -> dict[str, object]:
    answer = client.ask("attr.get", {"name": name})
    assert answer.aux1 == 0
    found = json_of(answer)
    assert isinstance(found, dict)
    return found


def test_an_immutable_value_is_marked_for_keeping(client: Client) -> None:
    assert get(client, "rank") == {"value": "0", "flags": 1}
    assert get(client, "version") == {"value": "1", "flags": 0}


def test_an_unknown_name_is_not_there(client: Client) -> None:
    answer = client.ask("attr.get", {"name": "ghost"})
    assert (answer.aux1, answer.payload) == (errno.ENOENT, None)
    assert put(client, "ghost") == (errno.ENOENT, "unknown attribute")
    assert put(client, "ghost", force=True) == (errno.ENOENT, "unknown attribute")


def test_some_names_are_free(client: Client) -> None:
    name = "test.a"
    assert put(client, name, "é") == (0, None)
    assert put(client, name, "2") == (0, None)
    assert get(client, name) == {"value": "2", "flags": 0}


@pytest.mark.parametrize("name", ["test-ro.a", "test-nr.a", "vendor.a"])
def test_some_names_are_set_once(client: Client, name: str) -> None:
    assert put(client, name) == (0, None)
    assert put(client, name, "2") == (errno.EINVAL, "attribute may not be updated")
    assert get(client, name) == {"value": "v", "flags": 0}
    assert put(client, name, "3", force=True) == (0, None)
    assert get(client, name)["value"] == "3"


def test_an_immutable_value_does_not_change_even_by_force(client: Client) -> None:
    assert put(client, "test-im.a") == (0, None)
    assert get(client, "test-im.a") == {"value": "v", "flags": 1}
    for name in ("test-im.a", "rank"):
        assert put(client, name) == (errno.EINVAL, "attribute may not be updated")
        assert put(client, name, force=True) == (errno.EPERM, None)
        assert client.ask("attr.rm", {"name": name}).aux1 == errno.EPERM


def test_removing_is_done_or_was_never_needed(client: Client) -> None:
    put(client, "test.a")
    for _ in range(2):
        answer = client.ask("attr.rm", {"name": "test.a"})
        assert (answer.aux1, answer.payload) == (0, None)
    assert client.ask("attr.get", {"name": "test.a"}).aux1 == errno.ENOENT


def test_all_names_are_listed_without_a_payload(client: Client) -> None:
    put(client, "test.new")
    assert sorted(json_of(client.ask("attr.list"))["names"]) == ["rank", "rundir", "size", "test.new", "version"]


@pytest.mark.parametrize(
    "payload", [{}, {"name": 1}, {"name": "test.a", "value": 1}, {"name": "test.a", "value": None}]
)
def test_a_value_is_a_text(client: Client, payload: dict[str, object]) -> None:
    assert client.ask("attr.set", payload).aux1 == errno.EPROTO


@pytest.fixture
def ours(router: Router) -> Client:
    """A client of a broker with the attributes that each of ours has."""
    AttributeService(router, Attributes(CONSTANT, PLAIN))
    return Client(router, "ours")


@pytest.mark.parametrize("level", ["7", "0", "-1", "-99"])
def test_the_level_of_what_is_shown_may_be_changed(ours: Client, level: str) -> None:
    assert put(ours, "log-stderr-level", level) == (0, None)
    assert get(ours, "log-stderr-level") == {"value": level, "flags": 0}


@pytest.mark.parametrize("level", ["8", "", "all", "3.5"])
def test_what_is_no_level_is_refused_even_by_force(ours: Client, level: str) -> None:
    assert put(ours, "log-stderr-level", level, force=True) == (errno.EINVAL, "invalid level")
    assert get(ours, "log-stderr-level")["value"] == "3"


def test_a_name_without_a_value_is_listed_but_has_none_to_get(ours: Client) -> None:
    assert "parent-uri" in json_of(ours.ask("attr.list"))["names"]
    assert ours.ask("attr.get", {"name": "parent-uri"}).aux1 == errno.ENOENT


@pytest.mark.parametrize("name", ["parent-uri", "jobid", "config.path"])
def test_a_constant_without_a_value_is_set_once(ours: Client, name: str) -> None:
    assert put(ours, name) == (0, None)
    assert get(ours, name) == {"value": "v", "flags": 1}
    assert put(ours, name) == (errno.EINVAL, "attribute may not be updated")
    assert put(ours, name, force=True) == (errno.EPERM, None)


@pytest.mark.parametrize("name", ["content.dump", "content.restore", "broker.exit-restart", "broker.module-nopanic"])
def test_known_names_are_not_listed_before_they_are_set_and_may_be_changed(ours: Client, name: str) -> None:
    assert name not in json_of(ours.ask("attr.list"))["names"]
    assert put(ours, name) == (0, None)
    assert put(ours, name, "2") == (0, None)
    assert get(ours, name) == {"value": "2", "flags": 0}


def test_a_redirected_name_belongs_to_a_service_that_nobody_has(ours: Client) -> None:
    assert put(ours, "test-rd.a") == (errno.ENOSYS, None)


def test_attributes_are_bounded_and_room_can_be_made(client: Client) -> None:
    number = 0
    while (answer := put(client, f"test.{number}"))[0] == 0:
        number += 1
    assert answer == (errno.ENOSPC, "over 4096 attributes, remove some first")
    assert put(client, "test.0", "again") == (0, None)
    assert client.ask("attr.rm", {"name": "test.1"}).aux1 == 0
    assert put(client, "test.new") == (0, None)
