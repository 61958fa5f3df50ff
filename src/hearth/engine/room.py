# SPDX-License-Identifier: Apache-2.0
"""The room of one decision, in all its dimensions at once: resources, processes, instances of applications."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hearth.engine.policies.claim import plus

if TYPE_CHECKING:
    from collections.abc import Collection

    from hearth.engine.model import Session
    from hearth.engine.policies.claim import Amounts
    from hearth.engine.state import State

__all__ = ["Room"]


class Room:
    """How much there is, how much nobody holds, and how much will be free when those have gone that are going.

    An executor holds its room until its process has ended, in every dimension.
    """

    def __init__(self, state: State, sessions: Collection[Session]) -> None:
        bounds = {session.application.name: session.application.attributes.max_instances for session in sessions}
        capped = {name: most for name, most in bounds.items() if most}
        self._capped = list(capped)
        """Applications of which there may be only so many instances; None and 0 are no bound."""
        self.whole: Amounts = (*state.capacity, state.limits.max_executors, *capped.values())
        running = Counter(e.session.application.name for e in state.executors.values()) if capped else {}
        self.free: Amounts = (
            *state.free,
            state.limits.max_executors - len(state.executors),
            *(most - running[name] for name, most in capped.items()),
        )
        self.free_soon = self.free
        for executor in state.executors.values():
            if not executor.is_alive:
                self.free_soon = plus(self.free_soon, self.size_of(executor.session))

    def size_of(self, session: Session) -> Amounts:
        """What one executor of the session takes."""
        name = session.application.name
        return (*session.resources, 1, *[int(name == capped) for capped in self._capped])

    def most(self, size: Amounts) -> int:
        """How many of this size the whole would hold, if there were nothing else."""
        return min(there // wanted for wanted, there in zip(size, self.whole, strict=True) if wanted)
