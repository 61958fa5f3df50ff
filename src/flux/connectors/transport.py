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
    """The bytes of one connection, as a socket has them.

    One thread may send while another receives. A stream that encodes, as TLS does, fits under three rules
    that a bare socket keeps by itself; they are told where they apply.
    """

    def fileno(self) -> int:
        """What to wait for with poll(2); -1 once closed.

        Not readable must mean that `recv` has nothing to give. Readable may turn out to be too little to
        decode; `recv` says so.
        """

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Take some bytes; how many. Raises BlockingIOError with MSG_DONTWAIT when it takes none now.

        A stream that has encoded a piece and cannot pass all of it on takes none of it: the same bytes are
        offered again, possibly with more behind them.
        """

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """At most size bytes, none at the end. Raises BlockingIOError with MSG_DONTWAIT when none are there.

        Gives all that it has decoded, so that it reads no more than size bytes of its own at once.
        """

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
