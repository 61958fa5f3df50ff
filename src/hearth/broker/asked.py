# SPDX-License-Identifier: Apache-2.0
"""What a guest's services were asked, for a guest may answer that and nothing else. Pure.

An owner's responses are taken as they come. A guest that learns another connection's address, which
events carry, could otherwise answer requests that were never sent to it, before their service does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING

if TYPE_CHECKING:
    from flux.packet import Packet

__all__ = ["Asked"]

_MAX = 4096  # unanswered requests to the services of one guest


class Asked:
    """The requests not answered yet, by way and tag.

    Kept as hashes, which take the same room however long the way is; nobody outside can foresee them.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def note(self, request: Packet) -> None:
        """Remember what may be answered; with too many unanswered the oldest is answered in vain."""
        if request.flags & FLUX_MSGFLAG_NORESPONSE:
            return
        key = _key(request)
        if key not in self._counts and len(self._counts) >= _MAX:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = self._counts.get(key, 0) + 1

    def allows(self, response: Packet) -> bool:
        """Whether this answers something that was asked; the last answer, by RFC 6, ends that."""
        key = _key(response)
        count = self._counts.get(key, 0)
        if count and (response.aux1 or not response.flags & FLUX_MSGFLAG_STREAMING):
            if count == 1:
                del self._counts[key]
            else:
                self._counts[key] = count - 1
        return count > 0


def _key(message: Packet) -> int:
    return hash((tuple(message.routes or ()), message.aux2))
