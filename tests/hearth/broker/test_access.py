"""The table [access] decides who is let in, and as what."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from typing import Any

import pytest

from hearth.broker.access import Access, Members
from hearth.broker.credentials import Credentials, ServiceError
from tests.hearth.broker.wire import GUEST, OWNER

ME = os.getuid()
SOMEBODY = 4242  # has no name


@pytest.mark.parametrize(
    ("access", "userid", "admitted"),
    [
        (Access(OWNER), OWNER, Credentials(OWNER, 5)),
        (Access(OWNER), GUEST, None),
        (Access(OWNER), 0, None),
        (Access(OWNER, allow_guest_user=True), GUEST, Credentials(GUEST, 6)),
        (Access(OWNER, allow_guest_user=True), 0, Credentials(0, 6)),
        (Access(OWNER, allow_root_owner=True), 0, Credentials(0, 5)),
        (Access(OWNER, allow_root_owner=True), GUEST, None),
        (Access(0), 0, Credentials(0, 5)),
    ],
)
def test_who_is_admitted_and_as_what(access: Access, userid: int, admitted: Credentials | None) -> None:
    assert access.admit(userid) == admitted


def test_nothing_said_lets_nobody_in() -> None:
    assert Access.configured(OWNER, {}) == Access.configured(OWNER, {"access": {}}) == Access(OWNER)


def test_the_table_says_who_comes_in() -> None:
    table = {"allow-guest-user": True, "allow-root-owner": True, "private-mode": True}
    roles = {"admin": {"users": ["alice"], "groups": ["staff"]}}
    assert Access.configured(OWNER, {"access": table, "tbon": {}}) == Access(OWNER, True, True)
    assert Access.configured(OWNER, {"access": {"roles": roles}}).admins == Members(("alice",), ("staff",))


@pytest.mark.parametrize(
    "table",
    [
        7,
        {"allow-guest-user": "yes"},
        {"allow-root-owner": 1},
        {"roles": []},
        {"roles": {"king": {"users": []}}},
        {"roles": {"admin": {"users": "alice"}}},
        {"roles": {"admin": {"groups": [7]}}},
    ],
)
def test_what_is_no_such_table_is_refused_with_the_place(table: Any) -> None:
    with pytest.raises(ServiceError) as refused:
        Access.configured(OWNER, {"access": table})
    assert refused.value.errnum == errno.EINVAL
    assert "table access: " in (refused.value.text or "")


def test_an_admin_is_a_guest_with_one_role_more() -> None:
    name = pwd.getpwuid(ME).pw_name
    access = Access(OWNER if OWNER != ME else OWNER + 1, True, False, Members((name,)))
    assert access.admit(ME) == Credentials(ME, 6 | 8)
    assert access.admit(SOMEBODY) == Credentials(SOMEBODY, 6)


def test_members_are_found_by_name_and_by_group() -> None:
    listed = [(group.gr_name, group.gr_mem[0]) for group in grp.getgrall() if group.gr_mem]
    for group, name in listed[:1]:
        assert Members(groups=(group, "there-is-no-such-group")).include(pwd.getpwnam(name).pw_uid)
    assert not Members(groups=("there-is-no-such-group",)).include(ME)
    assert not Members(users=("there-is-no-such-user",)).include(ME)
    assert not Members().include(ME)
