"""The configuration: loaded by the owner, read and watched by users."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING
from hearth.broker.config import ConfigService
from hearth.broker.credentials import ServiceError
from hearth.broker.service import Service
from tests.hearth.broker.daemon import running_daemon
from tests.hearth.broker.wire import Client, ask, json_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class Picky(Service):
    """A service with a setting that must be a number."""

    def __init__(self, router: Router) -> None:
        super().__init__(router, "picky")
        self.setting = 0

    def configure(self, configuration: Mapping[str, Any]) -> None:
        setting = configuration.get("setting", 0)
        if not isinstance(setting, int):
            raise ServiceError(errno.EINVAL, "setting: not a number")
        self.setting = setting


def test_services_take_what_is_loaded_or_all_stays_as_it_was(client: Client, router: Router) -> None:
    before = router.builtin["early"] = Picky(router)
    picky = Picky(router)
    assert load(client, {"setting": 3}) == 0
    assert (before.setting, picky.setting) == (3, 3)
    answer = client.ask("config.load", {"setting": "x"})
    assert (answer.aux1, text_of(answer)) == (errno.EINVAL, "setting: not a number")
    assert (before.setting, picky.setting) == (3, 3)
    assert json_of(client.ask("config.get")) == {"setting": 3}


def test_one_service_may_be_configured_alone(client: Client, guest: Client, router: Router) -> None:
    picky = Picky(router)
    assert client.ask("picky.config-reload", {"setting": 4}).aux1 == 0
    assert picky.setting == 4
    assert json_of(client.ask("config.get")) == {}
    assert client.ask("picky.config-reload", {"setting": []}).aux1 == errno.EINVAL
    assert client.ask("picky.config-reload").aux1 == errno.EPROTO
    assert client.ask("attr.config-reload", {"setting": 4}).aux1 == 0
    assert guest.ask("picky.config-reload", {}).aux1 == errno.EPERM


def test_a_reload_reads_the_file_again_and_says_what_is_wrong_with_it() -> None:
    with running_daemon(configuration="a = 1") as daemon, daemon.connect() as client:
        assert json_of(client.ask("config.get")) == {"a": 1}
        path = {"value": str(daemon.configuration), "flags": 1}
        assert json_of(client.ask("attr.get", {"name": "config.path"})) == path
        daemon.configuration.write_text("a = 2")
        assert client.ask("config.reload").aux1 == 0
        assert json_of(client.ask("config.get")) == {"a": 2}
        for wrong, why in [("a = ", "hearth.toml: "), ("access = 7", "table access")]:
            daemon.configuration.write_text(wrong)
            answer = client.ask("config.reload")
            assert answer.aux1 == errno.EINVAL
            assert why in (text_of(answer) or "")
        daemon.configuration.unlink()
        answer = client.ask("config.reload")
        assert (answer.aux1, text_of(answer)) == (errno.ENOENT, f"{daemon.configuration}: No such file or directory")
        assert json_of(client.ask("config.get")) == {"a": 2}


def test_a_daemon_does_not_start_with_a_configuration_that_is_none() -> None:
    with pytest.raises(AssertionError, match="table access"), running_daemon(configuration="access = 7"):
        pass
