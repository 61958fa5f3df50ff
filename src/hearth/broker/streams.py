# SPDX-License-Identifier: Apache-2.0
"""The streaming requests that a service goes on answering, until they are cancelled or their sender is gone."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

from flux.constants import FLUX_MSGFLAG_STREAMING, FLUX_ROLE_OWNER
from hearth.broker.credentials import ServiceError, require_short_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flux.packet import Packet

__all__ = ["Streams", "ends", "is_streaming", "sender_of"]

_STREAMS_MAX = 4096  # of one user at one service; far above what people and tools that watch need


def is_streaming(request: Packet) -> bool:
    """Whether the sender takes more than one answer."""
    return bool(request.flags & FLUX_MSGFLAG_STREAMING)


class Streams:
    """Open streaming requests, by the way they came and their matchtag. Pure.

    The whole stack of addresses is the key, since all but its top is what the sender says: nobody can name
    the stream of another connection. Iterating gives a copy, so that streams may be taken out on the way.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[tuple[str, ...], int], tuple[Packet, str]] = {}
        self._of_user: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Packet]:
        return iter([request for request, _ in self._open.values()])

    def items(self) -> list[tuple[Packet, str]]:
        """Each with its subject."""
        return list(self._open.values())

    def about(self, subject: str) -> list[Packet]:
        """Those that were opened with this subject."""
        return [request for request, its_subject in self._open.values() if its_subject == subject]

    def open(self, request: Packet, subject: str = "") -> None:
        """Remember it, without its payload, which may be large.

        Raises ServiceError: EPROTO if it is not streaming, EAGAIN if its user has too many, EINVAL if its
        stack of addresses is longer than any real one.
        """
        if not is_streaming(request):
            raise ServiceError(errno.EPROTO)
        require_short_stack(request)
        if self._of_user[request.userid] >= _STREAMS_MAX:
            raise ServiceError(errno.EAGAIN, f"over {_STREAMS_MAX} streams are open, end some first")
        self._remove(_key(request, request.aux2))
        request.payload = None
        self._open[_key(request, request.aux2)] = request, subject
        self._of_user[request.userid] += 1

    def take(self, sender: Packet, matchtag: int) -> Packet | None:
        """Take out the stream that the sender of this message opened with the tag, None if there is none."""
        return self._remove(_key(sender, matchtag))

    def drop(self, notice: Packet) -> None:
        """A disconnect notice came: forget its sender's streams (docs/protocol.md, "Frames")."""
        for key in [key for key, (request, _) in self._open.items() if ends(notice, request)]:
            self._remove(key)

    def _remove(self, key: tuple[tuple[str, ...], int]) -> Packet | None:
        request, _ = self._open.pop(key, (None, ""))
        if request is not None:
            self._of_user[request.userid] -= 1
            if not self._of_user[request.userid]:
                del self._of_user[request.userid]
        return request


def _key(message: Packet, matchtag: int) -> tuple[tuple[str, ...], int]:
    return tuple(message.routes or ()), matchtag


def ends(notice: Packet, request: Packet) -> bool:
    """Whether a disconnect notice may end what the request began: same sender, and the owner's or the same user's."""
    allowed = notice.rolemask & FLUX_ROLE_OWNER or notice.userid == request.userid
    return bool(allowed) and sender_of(notice) == sender_of(request)


def sender_of(message: Packet) -> str:
    """The connection that a message was first sent on: the last address of its stack."""
    return message.routes[-1] if message.routes else ""
