"""The rules of `attr`: which names exist, who may change them, which stay."""

from __future__ import annotations

import errno

import pytest

from tests.hearth.broker.wire import Client, json_of, text_of


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


@pytest.mark.parametrize("name", ["test.a", "vendor.x"])
def test_some_names_are_free(client: Client, name: str) -> None:
    assert put(client, name, "é") == (0, None)
    assert put(client, name, "2") == (0, None)
    assert get(client, name) == {"value": "2", "flags": 0}


@pytest.mark.parametrize("name", ["test-ro.a", "test-nr.a"])
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
