"""The daemon's environment, read and changed by its owner."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from hearth.broker.broker_service import BrokerService
from tests.hearth.broker.wire import Client, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


@pytest.fixture(autouse=True)
def environment(router: Router) -> dict[str, str]:
    environment = {"HOME": "/home/me", "BAD": "\udcff"}
    BrokerService(router, environment)
    return environment


def test_only_what_is_set_is_told(client: Client) -> None:
    assert json_of(client.ask("broker.getenv", {"names": ["HOME", "GHOST"]})) == {"env": {"HOME": "/home/me"}}


def test_a_value_that_is_no_text_is_told_as_well_as_can_be(client: Client) -> None:
    assert json_of(client.ask("broker.getenv", {"names": ["BAD"]})) == {"env": {"BAD": "\ufffd"}}


def test_a_value_is_set_and_null_unsets(client: Client, environment: dict[str, str]) -> None:
    assert client.ask("broker.setenv", {"env": {"A": "1", "HOME": None, "GHOST": None}}).aux1 == 0
    assert environment == {"A": "1", "BAD": "\udcff"}


@pytest.mark.parametrize(("name", "value"), [("", "1"), ("a=b", "1"), ("a\0b", "1"), ("a", "1\0")])
def test_what_no_environment_can_hold_is_refused_with_all_that_came_along(
    client: Client, environment: dict[str, str], name: str, value: str
) -> None:
    before = dict(environment)
    assert client.ask("broker.setenv", {"env": {"FINE": "1", name: value}}).aux1 == errno.EINVAL
    assert environment == before


@pytest.mark.parametrize(("method", "payload"), [("getenv", {"names": []}), ("setenv", {"env": {}})])
def test_the_environment_is_the_owners(guest: Client, method: str, payload: object) -> None:
    answer = guest.ask(f"broker.{method}", payload)
    assert (answer.aux1, text_of(answer)) == (errno.EPERM, "Request requires owner credentials")


def test_nothing_is_built_in(guest: Client) -> None:
    assert json_of(guest.ask("broker.conf-builtin", {"keys": []})) == {"values": {}}
    answer = guest.ask("broker.conf-builtin", {"keys": ["rc1_path", "x"]})
    assert (answer.aux1, text_of(answer)) == (errno.EINVAL, "rc1_path: invalid key")
