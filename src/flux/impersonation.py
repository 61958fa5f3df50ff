# SPDX-License-Identifier: Apache-2.0
"""Credentials that a client writes into what it sends, to try what another user may do.

A broker heeds them in messages of its owner only. Without them each message says unknown, and the
broker fills in who we are.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flux import packet as wire
from flux.connectors.transport import connect_error
from flux.constants import FLUX_ROLE_ALL, FLUX_USERID_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flux.packet import Packet

__all__ = ["Impersonation", "encoder"]

_USERID = "FLUX_HANDLE_USERID"
_ROLEMASK = "FLUX_HANDLE_ROLEMASK"


@dataclass(frozen=True)
class Impersonation:
    """userid, rolemask: what every message is to say, None to leave it as it is."""

    userid: int | None = None
    rolemask: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Impersonation:
        """That of FLUX_HANDLE_USERID and FLUX_HANDLE_ROLEMASK. Raises ValueError for what is no such number."""
        return cls(
            _number(environment, _USERID, FLUX_USERID_UNKNOWN - 1), _number(environment, _ROLEMASK, FLUX_ROLE_ALL)
        )

    def encode(self, packet: Packet) -> bytes:
        """The framed message with these credentials; the packet keeps its own."""
        own = packet.userid, packet.rolemask
        packet.userid = own[0] if self.userid is None else self.userid
        packet.rolemask = own[1] if self.rolemask is None else self.rolemask
        try:
            return wire.encode(packet)
        finally:
            packet.userid, packet.rolemask = own


def encoder(environment: Mapping[str, str]) -> Callable[[Packet], bytes]:
    """How the environment wants a handle's messages to be written. Raises OSError (EINVAL) as a failed connect does."""
    try:
        impersonation = Impersonation.of(environment)
    except ValueError as error:
        raise connect_error(errno.EINVAL, str(error)) from None
    return wire.encode if impersonation == Impersonation() else impersonation.encode


def _number(environment: Mapping[str, str], name: str, most: int) -> int | None:
    """A variable as a number, decimal or with 0x before it; None if it is not set."""
    text = environment.get(name)
    if text is None:
        return None
    try:
        number = int(text, 16 if text[:2] in ("0x", "0X") else 10)
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        raise ValueError(f"{name}: got {text!r}, want a number from 0 to {most}")
    return number
