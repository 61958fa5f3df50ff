"""The configuration: loaded by the owner, read and watched by users."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING
from hearth.broker.config import ConfigService
from tests.hearth.broker.wire import Client, ask, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


@pytest.fixture(autouse=True)
def config(router: Router) -> ConfigService:
    return ConfigService(router)


def load(client: Client, configuration: object) -> int:
    return client.ask("config.load", configuration).aux1


def test_what_is_loaded_replaces_what_was(client: Client, guest: Client) -> None:
    assert json_of(guest.ask("config.get")) == {}
    assert load(client, {"a": {"x": [1, 2.5, "é", None]}}) == 0
    assert json_of(guest.ask("config.get")) == {"a": {"x": [1, 2.5, "é", None]}}
    assert load(client, {"b": 1}) == 0
    assert json_of(guest.ask("config.get")) == {"b": 1}


def test_a_reload_changes_nothing_since_there_is_no_file(client: Client) -> None:
    load(client, {"a": 1})
    answer = client.ask("config.reload")
    assert (answer.aux1, answer.payload) == (0, None)
    assert json_of(client.ask("config.get")) == {"a": 1}


@pytest.mark.parametrize("payload", [None, b"{}", b"{\0", b"[]\0", b"1\0"])
def test_only_an_object_is_a_configuration(client: Client, payload: bytes | None) -> None:
    answer = client.ask("config.load", payload)
    assert (answer.aux1, text_of(answer)) == (errno.EPROTO, "error decoding config.load request")


@pytest.mark.parametrize("method", ["load", "reload"])
def test_a_guest_changes_nothing(guest: Client, method: str) -> None:
    answer = guest.ask(f"config.{method}", {})
    assert (answer.aux1, text_of(answer)) == (errno.EPERM, "Request requires owner credentials")


def test_who_streams_sees_every_change_until_it_leaves(client: Client, guest: Client) -> None:
    guest.say(ask("config.get", matchtag=4, flags=FLUX_MSGFLAG_STREAMING))
    load(client, {"a": 1})
    load(client, {"a": 2})
    assert [(answer.aux2, json_of(answer)) for answer in guest.got] == [(4, {}), (4, {"a": 1}), (4, {"a": 2})]
    guest.hang_up()
    load(client, {"a": 3})
    assert len(guest.got) == 3
