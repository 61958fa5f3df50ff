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
    """How much there is, how much of it nobody holds, and how much those hold that are on their way out.

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
        leaving = (executor for executor in state.executors.values() if not executor.is_alive)
        self.leaving: Amounts = (0,) * len(self.whole)
        for executor in leaving:
            self.leaving = plus(self.leaving, self.size_of(executor.session))

    def size_of(self, session: Session) -> Amounts:
        """What one executor of the session takes."""
        name = session.application.name
        return (*session.resources, 1, *[int(name == capped) for capped in self._capped])

    def most(self, size: Amounts) -> int:
        """How many of this size the whole would hold, if there were nothing else."""
        return min(there // wanted for wanted, there in zip(size, self.whole, strict=True) if wanted)
