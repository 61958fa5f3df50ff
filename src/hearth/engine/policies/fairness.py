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

_SLACK_S = 0.001  # so that a lead which is enough by then is not found a rounding error too small
_PASSED_OVER = 2  # quanta beyond its own that a holder may be ahead of who waits, before its quantum is over


def least_share_first(now: float, quantum_s: float) -> Order:
    """By dominant share; among equals by what they have received, with an advantage for who holds the executor."""

    def order(claim: Claim) -> tuple[float, ...]:
        given, turn = claim.given, claim.received
        if given < claim.held:
            turn -= _lead(claim, quantum_s) if now >= claim.settles_at else _lead_before(claim, quantum_s)
        return (claim.share(given), turn)

    return order


def _lead(claim: Claim, quantum_s: float) -> float:
    """How much more a holder may have received than who waits, before it is the other's turn.

    A session of many executors need not start one anew for a lead that is small beside what it has:
    the more it holds, the longer it keeps the last one. With one executor the quantum alone decides.
    """
    return quantum_s * claim.share(max(0, claim.held - 1))


def _lead_before(claim: Claim, quantum_s: float) -> float:
    """The same while it has not served for a quantum.

    More than it can be ahead by then of someone who was ahead of it when it started. So only one loses
    its executor that got it although another was far behind: one whose executors are so large that
    they fit only when several others have gone, which never settle at the same time.
    """
    return claim.share(claim.held) * (claim.settling_s + _PASSED_OVER * quantum_s)


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
        last_level, its_rate = holder.share(holder.given - 1), holder.share(holder.held)
        lead, lead_before = _lead(holder, quantum_s), _lead_before(holder, quantum_s)
        for (priority, level, rate), received in first.items():
            if holder.priority == priority and last_level >= level and its_rate > rate:
                ahead, gain = holder.received - received, its_rate - rate
                settled = max(_when(now, lead - ahead, gain), holder.settles_at)
                turns += [settled, _when(now, lead_before - ahead, gain)]
    return min((turn for turn in turns if turn > now), default=None)


def _when(now: float, missing: float, gain: float) -> float:
    """When so much more will have been gained."""
    return now + missing / gain + _SLACK_S if missing > 0 else now
