"""Groups: rank 0 joins and leaves, others look on."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING, FLUX_ROLE_OWNER
from hearth.broker.groups import GroupsService
from tests.hearth.broker.wire import Client, ask, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


@pytest.fixture(autouse=True)
def groups(router: Router) -> GroupsService:
    return GroupsService(router)


def members(client: Client, name: str) -> str:
    found = json_of(client.ask("groups.get", {"name": name}))["members"]
    assert isinstance(found, str)
    return found


def test_the_broker_is_online_and_unknown_groups_are_empty(guest: Client) -> None:
    assert members(guest, "broker.online") == "0"
    assert members(guest, "zork") == ""


def test_rank_0_joins_once_and_leaves_once(client: Client) -> None:
    assert client.ask("groups.join", {"name": "zork"}).aux1 == 0
    assert members(client, "zork") == "0"
    again = client.ask("groups.join", {"name": "zork"})
    assert (again.aux1, text_of(again)) == (errno.EEXIST, "rank 0 is already a member of zork")
    assert client.ask("groups.leave", {"name": "zork"}).aux1 == 0
    assert members(client, "zork") == ""
    again = client.ask("groups.leave", {"name": "zork"})
    assert (again.aux1, text_of(again)) == (errno.ENOENT, "rank 0 is not a member of zork")


@pytest.mark.parametrize("method", ["join", "leave"])
def test_only_the_owner_here_speaks_for_rank_0(client: Client, guest: Client, method: str) -> None:
    assert guest.ask(f"groups.{method}", {"name": "zork"}).aux1 == errno.EPERM
    assert client.ask(f"groups.{method}", {"name": "zork"}, rolemask=FLUX_ROLE_OWNER).aux1 == errno.EPERM


def test_who_streams_sees_the_changes_of_its_group_until_it_leaves(client: Client, guest: Client) -> None:
    guest.say(ask("groups.get", {"name": "zork"}, flags=FLUX_MSGFLAG_STREAMING))
    for method in ("join", "leave"):
        client.ask(f"groups.{method}", {"name": "zork"})
        client.ask(f"groups.{method}", {"name": "other"})
    assert [json_of(answer)["members"] for answer in guest.got] == ["", "0", ""]
    guest.hang_up()
    client.ask("groups.join", {"name": "zork"})
    assert len(guest.got) == 3


def test_a_request_without_a_name_is_refused(client: Client) -> None:
    for method in ("get", "join", "leave"):
        assert client.ask(f"groups.{method}", {}).aux1 == errno.EPROTO


def test_who_asked_for_a_group_may_leave_and_the_rank_stays(client: Client, other: Client) -> None:
    """A rank is a member, as in flux-core: what a program joins it leaves itself, or its successor does."""
    assert other.ask("groups.join", {"name": "zork"}).aux1 == 0
    other.hang_up()
    assert members(client, "zork") == "0"
    assert client.ask("groups.leave", {"name": "zork"}).aux1 == 0


def test_groups_are_bounded(client: Client) -> None:
    number = 0
    while (answer := client.ask("groups.join", {"name": f"g{number}"})).aux1 == 0:
        number += 1
    assert (answer.aux1, number) == (errno.ENOSPC, 4095)
    assert client.ask("groups.get", {"name": "x" * 256}).aux1 == errno.EINVAL
