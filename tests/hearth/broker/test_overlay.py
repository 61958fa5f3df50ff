"""A tree of one broker, and its services."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from hearth.broker.modules import ModuleService
from hearth.broker.overlay import OverlayService
from tests.hearth.broker.wire import Client, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


@pytest.fixture(autouse=True)
def overlay(router: Router) -> OverlayService:
    ModuleService(router)
    return OverlayService(router, lambda: 2.5)


def test_the_tree_is_one_broker_in_good_health(guest: Client) -> None:
    health = json_of(guest.ask("overlay.health"))
    assert health == {"rank": 0, "status": "full", "duration": 2.5, "children": []}
    assert json_of(guest.ask("overlay.topology", {"rank": 0})) == {"rank": 0, "size": 1, "children": []}


@pytest.mark.parametrize("rank", [1, -1])
def test_there_is_no_other_rank(client: Client, rank: int) -> None:
    answer = client.ask("overlay.topology", {"rank": rank})
    assert (answer.aux1, text_of(answer)) == (errno.ENOENT, "requested rank is not this broker or its direct child")
    assert client.ask("overlay.topology", {}).aux1 == errno.EPROTO


def test_nothing_goes_up_or_down_the_tree(guest: Client) -> None:
    stats = json_of(guest.ask("overlay.stats-get"))
    assert stats.pop("interthread") == {"sendq": 0, "recvq": 0}
    counters = ["child-connected", "child-count", "child-rpc", "parent-count", "parent-rpc"]
    assert stats == dict.fromkeys(counters, 0)


def test_the_services_of_the_daemon_are_its_modules(guest: Client) -> None:
    modules = json_of(guest.ask("module.list"))["mods"]
    assert [module["name"] for module in modules] == ["attr", "broker", "event", "module", "overlay"]
    described = {"name", "path", "idle", "status", "services", "sendqueue", "recvqueue"}
    assert all(module.keys() == described and module["status"] == 1 for module in modules)


def test_modules_are_neither_loaded_nor_removed(client: Client, guest: Client) -> None:
    answer = client.ask("module.load", {"path": "x.so", "args": []})
    assert (answer.aux1, text_of(answer)) == (errno.ENOENT, "module not found in search path")
    assert client.ask("module.remove", {"name": "ghost"}).aux1 == errno.ENOENT
    answer = client.ask("module.remove", {"name": "attr"})
    assert (answer.aux1, text_of(answer)) == (errno.EPERM, "attr is built in and stays")
    assert guest.ask("module.remove", {"name": "attr"}).aux1 == errno.EPERM
