# SPDX-License-Identifier: Apache-2.0
"""The policy `priority`: who has a higher one comes first, with all that it wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hearth.engine.policies.claim import Claim

__all__ = ["highest_first"]


def highest_first(claim: Claim) -> tuple[float, ...]:
    """Lower ones get what those above cannot use: they have all they want, or what is left is too small for them."""
    return (-claim.priority,)
