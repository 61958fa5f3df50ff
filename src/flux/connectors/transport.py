# SPDX-License-Identifier: Apache-2.0
"""What a connector gives to a handle, and how it says that it cannot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

__all__ = ["Stream", "Transport", "connect_error"]

_PREFIX = "Unable to connect to Flux: "


class Stream(Protocol):
    """The bytes of one connection, as a socket has them."""

    def fileno(self) -> int:
        """What poll(2) says about this descriptor holds for the stream; -1 once closed."""

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Take some bytes; how many. Raises BlockingIOError with MSG_DONTWAIT when it takes none now."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """At most size bytes, none at the end. Raises BlockingIOError with MSG_DONTWAIT when none are there."""

    def shutdown(self, how: int, /) -> None:
        """With SHUT_RDWR: end both directions, so that a recv or poll in another thread returns."""

    def close(self) -> None:
        """Hang up. Again: nothing."""


@dataclass(frozen=True)
class Transport:
    """An open connection.

    attributes: the broker attributes known beforehand. is_repeatable: whether the same URI opens another one.
    """

    stream: Stream
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True


def connect_error(errnum: int, text: str | None = None) -> OSError:
    """The OSError of a failed connect; text: in place of errnum's own."""
    return OSError(errnum, _PREFIX + (text or os.strerror(errnum)))
