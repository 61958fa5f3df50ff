# SPDX-License-Identifier: Apache-2.0
"""What sessions have received that take turns: who owes whom, and where someone starts who joins them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearth.engine.policies.claim import Claim

__all__ = ["VirtualTime", "find_contenders"]

_REMEMBERED = 60  # quanta of the whole instance: nobody is further behind the next one, and has more to make up for


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
            for claim in equals:
                if not claim.contends:
                    claim.received = max(claim.received, reached)
            self._close_gaps([claim for claim in equals if claim.contends])

    def _close_gaps(self, claims: list[Claim]) -> None:
        """Raise those who are too far behind the next one, and with them all who are behind them, by as much.

        Not each one to a bound: those who are far behind would be equal there, and never take turns again.
        """
        claims.sort(key=lambda claim: claim.received, reverse=True)
        raised = 0.0
        for ahead, claim in itertools.pairwise(claims):
            claim.received += raised
            too_far = ahead.received - claim.received - self._memory
            if too_far > 0:
                claim.received += too_far
                raised += too_far


def _by_priority(claims: Sequence[Claim]) -> Iterable[list[Claim]]:
    groups: dict[int, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.priority, []).append(claim)
    return groups.values()


def _reached_by(equals: Sequence[Claim]) -> float:
    """The least that one of those who are served has received; if nobody contends, nobody owes anything."""
    served = [claim.received for claim in equals if claim.contends and claim.held]
    return min(served) if served else max(claim.received for claim in equals)
