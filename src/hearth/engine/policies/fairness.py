# SPDX-License-Identifier: Apache-2.0
"""The policy `drf`: dominant-resource fairness, and taking turns where that leaves several equal.

A session's dominant share is the largest part that it has of any resource. The one with the smallest
gets the next executor (Ghodsi et al., NSDI 2011). Executors are whole, so shares often cannot be: three
sessions on one slot, or on eight. Then the slot that is left over goes round: among equals the one
that has received least comes first, counted as in start-time fair queueing (Goyal et al., 1996).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearth.engine.policies.claim import Claim
    from hearth.engine.policies.filling import Order

__all__ = ["VirtualTime", "find_contenders", "least_share_first", "next_turn"]

_KEEPS = -math.inf
_SLACK_S = 0.001  # so that a lead which is enough by then is not found a rounding error too small
_REMEMBERED = 60  # quanta of the whole instance: nobody makes up for more, so nobody is kept waiting for longer by it


def least_share_first(now: float, quantum_s: float) -> Order:
    """By dominant share; among equals who holds the executor already and has just got it, then who received least."""

    def order(claim: Claim) -> tuple[float, ...]:
        given = claim.given
        if given >= claim.held:
            turn = claim.received
        elif now < claim.settles_at:
            turn = _KEEPS
        else:
            turn = _lead(claim, quantum_s)
        return (claim.share(given), turn)

    return order


def _lead(claim: Claim, quantum_s: float) -> float:
    """What a holder has received beyond what it may be ahead of who waits before it is the other's turn.

    A session of many executors need not start one anew for a lead that is small beside what it has:
    the more it holds, the longer it keeps the last one. With one executor the quantum alone decides.
    """
    return claim.received - quantum_s * claim.share(max(0, claim.held - 1))


def next_turn(claims: Sequence[Claim], now: float, quantum_s: float) -> float | None:
    """When, with nothing else happening, it may have become the turn of someone who contends."""
    holders = [
        (
            claim.priority,
            claim.share(claim.given - 1),
            claim.share(claim.held),
            _lead(claim, quantum_s),
            claim.settles_at,
        )
        for claim in claims
        if claim.contends and claim.given > claim.pinned
    ]
    turns: list[float] = []
    for waiting in claims:
        if not waiting.contends or waiting.demand <= waiting.given:
            continue
        priority, level, rate = waiting.priority, waiting.share(waiting.given), waiting.share(waiting.held)
        for its_priority, its_level, its_rate, ahead, settles_at in holders:
            if its_priority == priority and its_level >= level and its_rate > rate:
                missing = waiting.received - ahead
                turn = now + missing / (its_rate - rate) + _SLACK_S if missing > 0 else now
                turns.append(turn if turn > settles_at else settles_at)
    return min((turn for turn in turns if turn > now), default=None)


def find_contenders(claims: Sequence[Claim]) -> None:
    """Say of each claim whether it contends: waits for what an equal holds, or holds what an equal waits for.

    Others have what is theirs, though they may want more: two sessions of which one needs executors
    three times as large never receive the same, and owe each other nothing.
    """
    for equals in _by_priority(claims):
        holders = [claim for claim in equals if claim.given > claim.pinned]
        highest = max((claim.share(claim.given - 1) for claim in holders), default=-1.0)
        waiting = [claim for claim in equals if claim.given < claim.demand and claim.share(claim.given) <= highest]
        lowest = min((claim.share(claim.given) for claim in waiting), default=math.inf)
        for claim in equals:
            claim.contends = False
        for claim in [*waiting, *(claim for claim in holders if claim.share(claim.given - 1) >= lowest)]:
            claim.contends = True


class VirtualTime:
    """How much those who contend have received, by priority: where someone starts who comes to contend with them.

    So nobody saves up a claim while it wants nothing, and nobody who was alone pays for it later.
    """

    def __init__(self, quantum_s: float) -> None:
        self._reached: dict[int, float] = {}
        self._memory = _REMEMBERED * quantum_s

    def admit(self, claims: Sequence[Claim]) -> None:
        """Raise what those have received who did not contend at the decision before to where the others are."""
        for equals in _by_priority(claims):
            priority = equals[0].priority
            reached = self._reached[priority] = max(self._reached.get(priority, 0.0), _reached_by(equals))
            long_ago = max(claim.received for claim in equals) - self._memory
            for claim in equals:
                claim.received = max(claim.received, long_ago if claim.contends else reached)


def _by_priority(claims: Sequence[Claim]) -> Iterable[list[Claim]]:
    groups: dict[int, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.priority, []).append(claim)
    return groups.values()


def _reached_by(equals: Sequence[Claim]) -> float:
    """The least that one of those who are served has received; if nobody contends, nobody owes anything."""
    served = [claim.received for claim in equals if claim.contends and claim.held]
    return min(served) if served else max(claim.received for claim in equals)
