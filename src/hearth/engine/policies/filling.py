# SPDX-License-Identifier: Apache-2.0
"""Progressive filling: the room is given out one executor at a time, always to whom the policies put first."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

from hearth.engine.policies.claim import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearth.engine.policies.claim import Amounts, Claim

__all__ = ["Order", "fill"]

Order: TypeAlias = "Callable[[Claim], tuple[float, ...]]"
"""Where a claim stands that has been given so many executors by now; the smallest gets the next one."""


def fill(claims: Sequence[Claim], room: Amounts, order: Order) -> list[Claim]:
    """Set what each claim is given of the whole room, as if nobody held anything but what is pinned.

    Returns the claims in the order in which they were given an executor that they do not hold, one entry
    for each. Equals are served in the order of the sequence. One that no longer fits is out, and the
    others go on with what is left: nobody could use it who stands before them.
    """
    left = list(room)
    for claim in claims:
        claim.given = claim.pinned
        if claim.pinned:
            left = [there - claim.pinned * taken for there, taken in zip(left, claim.size, strict=True)]
    waiting = [(order(claim), index) for index, claim in enumerate(claims) if claim.given < claim.demand]
    heapq.heapify(waiting)
    granted: list[Claim] = []
    while waiting:
        index = waiting[0][1]
        claim = claims[index]
        if not fits(claim.size, left):
            heapq.heappop(waiting)
            continue
        for dimension, taken in enumerate(claim.size):
            left[dimension] -= taken
        if claim.given >= claim.held:
            granted.append(claim)
        claim.given += 1
        if claim.given < claim.demand:
            heapq.heapreplace(waiting, (order(claim), index))
        else:
            heapq.heappop(waiting)
    return granted
