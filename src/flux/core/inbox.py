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
        self.packets = packets
        """The oldest first; taken out and put back by the methods below only."""
        self.taken = 0

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def arrived(self) -> int:
        """How many messages arrived so far."""
        return self.taken + len(self.packets)

    def take(self) -> Packet | None:
        """The oldest message, None without one."""
        if not self.packets:
            return None
        self.taken += 1
        return self.packets.popleft()

    def take_matching(self, matches: Callable[[Packet], bool]) -> Packet | None:
        """The oldest message that matches, None without one; the others keep their order."""
        packets = self.packets
        if packets and matches(packets[0]):  # as it mostly is
            return self.take()
        for place, packet in enumerate(packets):
            if matches(packet):
                del packets[place]
                self.taken += 1
                return packet
        return None

    def put_back(self, packet: Packet, *, first: bool) -> None:
        """Put a message before all others, or behind them."""
        self.taken -= 1
        if first:
            self.packets.appendleft(packet)
        else:
            self.packets.append(packet)
