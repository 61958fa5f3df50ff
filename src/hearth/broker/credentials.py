# SPDX-License-Identifier: Apache-2.0
"""What the messages of a connection may claim, and what they may ask (RFC 3, "Message credentials")."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from flux.constants import FLUX_ROLE_NONE, FLUX_ROLE_OWNER, FLUX_ROLE_USER, FLUX_USERID_UNKNOWN

if TYPE_CHECKING:
    from flux.packet import Packet

__all__ = ["OWNER_ONLY", "USERS", "Credentials", "ServiceError", "require", "require_short_stack"]

OWNER_ONLY = FLUX_ROLE_OWNER
_STACK_MAX_BYTES = 1024  # 27 hops; whoever keeps a request keeps its return addresses

USERS = FLUX_ROLE_OWNER | FLUX_ROLE_USER


class ServiceError(Exception):
    """A request is answered with an errno and a text. Attributes: errnum, text (None: the errno's own)."""

    def __init__(self, errnum: int, text: str | None = None) -> None:
        super().__init__(errnum, text)
        self.errnum, self.text = errnum, text


class Credentials(NamedTuple):
    """What a connection, or a message, may act as."""

    userid: int
    rolemask: int

    @property
    def is_owner(self) -> bool:
        """Whether everything is allowed."""
        return bool(self.rolemask & FLUX_ROLE_OWNER)

    def stamp(self, packet: Packet) -> None:
        """Put these credentials on a message that arrived with them.

        A guest's claims are overwritten; an owner may claim to be somebody, only blanks are filled.
        """
        if self.is_owner:
            if packet.userid == FLUX_USERID_UNKNOWN:
                packet.userid = self.userid
            if packet.rolemask == FLUX_ROLE_NONE:
                packet.rolemask = self.rolemask
        else:
            packet.userid, packet.rolemask = self.userid, self.rolemask


def require(packet: Packet, allowed: int) -> None:
    """Raise ServiceError EPERM unless the message carries one of the allowed roles, or the owner's."""
    if packet.rolemask & (allowed | FLUX_ROLE_OWNER):
        return
    if allowed == OWNER_ONLY:
        raise ServiceError(errno.EPERM, "Request requires owner credentials")
    raise ServiceError(errno.EPERM, "Request rejected due to insufficient privilege")


def require_short_stack(packet: Packet) -> None:
    """Raise ServiceError EINVAL for a request that brings more return addresses than anybody should keep."""
    if sum(map(len, packet.routes or ())) > _STACK_MAX_BYTES:
        raise ServiceError(errno.EINVAL, f"return addresses are over {_STACK_MAX_BYTES} bytes")
