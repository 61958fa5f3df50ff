# SPDX-License-Identifier: Apache-2.0
"""Who may connect, and as what: the table [access] of the configuration, as flux-core reads it."""

from __future__ import annotations

import errno
import grp
import pwd
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flux.constants import FLUX_ROLE_ADMIN, FLUX_ROLE_LOCAL, FLUX_ROLE_OWNER, FLUX_ROLE_USER
from hearth.broker.credentials import Credentials, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Access", "Members"]


class Members(msgspec.Struct, frozen=True):
    """Users by name, and groups whose member list names them."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def include(self, userid: int) -> bool:
        """Whether a user is one of them now; one without a name is none.

        A group counts who is on its list, which leaves out those who only have it as their primary group.
        """
        if not self.users and not self.groups:
            return False
        try:
            name = pwd.getpwuid(userid).pw_name
        except KeyError:
            return False
        return name in self.users or any(name in _listed_in(group) for group in self.groups)


def _listed_in(group: str) -> list[str]:
    try:
        return grp.getgrnam(group).gr_mem
    except KeyError:
        return []


class _Roles(msgspec.Struct, forbid_unknown_fields=True):
    admin: Members = Members()


class _Table(msgspec.Struct, rename="kebab"):
    allow_guest_user: bool = False
    allow_root_owner: bool = False
    roles: _Roles = msgspec.field(default_factory=_Roles)


class Access(NamedTuple):
    """Who may connect. Guests are turned away unless the owner lets them in."""

    owner: int
    allow_guest_user: bool = False
    allow_root_owner: bool = False
    admins: Members = Members()

    @classmethod
    def configured(cls, owner: int, configuration: Mapping[str, Any]) -> Access:
        """As the table `access` says. Raises ServiceError EINVAL if it is not such a table."""
        try:
            table = msgspec.convert(configuration.get("access", {}), _Table)
        except msgspec.ValidationError as error:
            raise ServiceError(errno.EINVAL, f"configuration, table access: {error}") from None
        return cls(owner, table.allow_guest_user, table.allow_root_owner, table.roles.admin)

    def admit(self, userid: int) -> Credentials | None:
        """The credentials of a connection made by userid, None to refuse it."""
        if userid == self.owner or (userid == 0 and self.allow_root_owner):
            return Credentials(userid, FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL)
        if not self.allow_guest_user:
            return None
        admin = FLUX_ROLE_ADMIN if self.admins.include(userid) else 0
        return Credentials(userid, FLUX_ROLE_USER | FLUX_ROLE_LOCAL | admin)
