# SPDX-License-Identifier: Apache-2.0
"""The messages that arrived and answer no request of ours, in the order they arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from flux.packet import Packet

__all__ = ["Inbox"]


class Inbox:
    """A queue that can be searched.

    `taken` and `arrived` count messages, so that a result can be placed among them: it came after
    all messages up to `arrived`, and its turn is when `taken` gets there.
    """

    def __init__(self, packets: deque[Packet]) -> None:
        self._packets = packets
        self.taken = 0

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def arrived(self) -> int:
        """How many messages arrived so far."""
        return self.taken + len(self._packets)

    def take(self) -> Packet | None:
        """The oldest message, None without one."""
        if not self._packets:
            return None
        self.taken += 1
        return self._packets.popleft()

    def take_matching(self, matches: Callable[[Packet], bool]) -> Packet | None:
        """The oldest message that matches, None without one; the others keep their order."""
        for place, packet in enumerate(self._packets):
            if matches(packet):
                del self._packets[place]
                self.taken += 1
                return packet
        return None

    def put_back(self, packet: Packet, *, first: bool) -> None:
        """Put a message before all others, or behind them."""
        self.taken -= 1
        if first:
            self._packets.appendleft(packet)
        else:
            self._packets.append(packet)
