# SPDX-License-Identifier: Apache-2.0
"""The policies by the names that a configuration gives them, and several of them as one order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearth.engine.policies.fairness import least_share_first
from hearth.engine.policies.priority import highest_first

if TYPE_CHECKING:
    from collections.abc import Collection

    from hearth.engine.policies.claim import Claim
    from hearth.engine.policies.filling import Order

__all__ = ["POLICIES", "make_order"]

POLICIES = ("priority", "drf")
"""Each may be left out. The first decides and the second orders what it leaves equal, however they are written."""


def make_order(policies: Collection[str], now: float, quantum_s: float) -> Order:
    """The order of one decision. What all policies leave equal goes by age, since claims come oldest first."""
    fair = least_share_first(now, quantum_s)
    if "drf" not in policies:
        return highest_first if "priority" in policies else _oldest_first
    return (lambda claim: highest_first(claim) + fair(claim)) if "priority" in policies else fair


def _oldest_first(claim: Claim) -> tuple[float, ...]:
    return ()
