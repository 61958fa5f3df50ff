"""Who serves what, as the broker tells it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import FLUX_ROLE_NONE
from hearth.broker.service_list import ServiceListService
from tests.hearth.broker.daemon import running_daemon
from tests.hearth.broker.wire import BROKER, GUEST, OWNER, Client, guest_credentials, json_of

if TYPE_CHECKING:
    from hearth.broker.router import Router

DAEMON_PID = 77


@pytest.fixture(autouse=True)
def service(router: Router) -> ServiceListService:
    return ServiceListService(router, DAEMON_PID)


def listed(client: Client) -> dict[str, dict[str, Any]]:
    """What client is told, by name."""
    services = json_of(client.ask("service.list"))["services"]
    assert [one["name"] for one in services] == sorted(one["name"] for one in services)
    return {one["name"]: one for one in services}


def test_what_is_built_in_is_served_by_the_broker(client: Client) -> None:
    told = listed(client)
    assert set(told) == {"attr", "broker", "event", "service"}
    assert told["attr"] == {
        "name": "attr",
        "builtin": True,
        "uuid": BROKER[:8],
        "userid": OWNER,
        "pid": DAEMON_PID,
    }


def test_what_a_client_registered_is_listed_until_it_leaves(client: Client, other: Client) -> None:
    other.pid = 5
    other.serve("sums")
    assert listed(client)["sums"] == {
        "name": "sums",
        "builtin": False,
        "uuid": other.uuid[:8],
        "userid": OWNER,
        "pid": 5,
    }
    other.hang_up()
    assert "sums" not in listed(client)


def test_a_guest_is_told_no_process_but_its_own(router: Router, client: Client, guest: Client) -> None:
    client.pid, guest.pid = 5, 6
    client.serve("sums")
    guest.serve(f"{GUEST}-mine")
    told = listed(guest)
    assert (told["sums"]["pid"], told[f"{GUEST}-mine"]["pid"]) == (None, 6)
    assert listed(client)[f"{GUEST}-mine"]["pid"] == 6


def test_nobody_learns_a_whole_address(client: Client, guest: Client, other: Client) -> None:
    other.serve("sums")
    for asker in (client, guest):
        assert {len(one["uuid"]) for one in listed(asker).values()} == {8}


def test_who_is_neither_owner_nor_user_is_told_nothing(router: Router) -> None:
    nobody = Client(router, "eeeeeeee-nobody", guest_credentials._replace(rolemask=FLUX_ROLE_NONE))
    assert nobody.ask("service.list").aux1 == errno.EPERM


def test_the_name_service_cannot_be_taken(client: Client) -> None:
    assert client.ask("service.add", {"service": "service"}).aux1 == errno.EEXIST


def test_a_daemon_tells_the_process_behind_each_service() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        assert client.ask("service.add", {"service": "sums"}).aux1 == 0
        told = {one["name"]: one["pid"] for one in json_of(client.ask("service.list"))["services"]}
        assert (told["sums"], told["attr"]) == (os.getpid(), daemon.process.pid)
