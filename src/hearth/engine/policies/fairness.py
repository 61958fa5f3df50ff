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
    from collections.abc import Sequence

    from hearth.engine.policies.claim import Claim
    from hearth.engine.policies.filling import Order

__all__ = ["least_share_first", "next_turn"]

_KEEPS = -math.inf
_SLACK_S = 0.001  # so that a lead which is enough by then is not found a rounding error too small


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
    first: dict[tuple[int, float, float], float] = {}
    """By priority, level and rate of those who wait: what the one has received whose turn comes first."""
    for claim in claims:
        if claim.contends and claim.given < claim.demand:
            equals = (claim.priority, claim.share(claim.given), claim.share(claim.held))
            first[equals] = min(first.get(equals, math.inf), claim.received)
    turns: list[float] = []
    for holder in claims:
        if not holder.contends or holder.given <= holder.pinned:
            continue
        last_level, its_rate, ahead = (
            holder.share(holder.given - 1),
            holder.share(holder.held),
            _lead(holder, quantum_s),
        )
        for (priority, level, rate), received in first.items():
            if holder.priority == priority and last_level >= level and its_rate > rate:
                missing = received - ahead
                turn = now + missing / (its_rate - rate) + _SLACK_S if missing > 0 else now
                turns.append(max(turn, holder.settles_at))
    return min((turn for turn in turns if turn > now), default=None)
