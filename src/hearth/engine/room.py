# SPDX-License-Identifier: Apache-2.0
"""The room of one decision, in all its dimensions at once: resources, processes, instances of applications."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from hearth.engine.policies.claim import dominant, plus

if TYPE_CHECKING:
    from collections.abc import Collection

    from hearth.engine.model import Resources, Session
    from hearth.engine.policies.claim import Amounts
    from hearth.engine.state import State

__all__ = ["Room", "Shape"]


class Shape(NamedTuple):
    """An executor as it takes room."""

    size: Amounts
    most: int
    """How many of them the whole would hold, if there were nothing else."""
    dominant: tuple[int, int]


class Room:
    """How much there is, how much of it nobody holds, and how much those hold that are on their way out.

    An executor holds its room until its process has ended, in every dimension.
    """

    def __init__(self, state: State, sessions: Collection[Session]) -> None:
        bounds = {session.application.name: session.application.attributes.max_instances for session in sessions}
        capped = {name: most for name, most in bounds.items() if most}
        self._capacity = state.capacity
        self._shapes: dict[tuple[Resources, str], Shape] = {}
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
            self.leaving = plus(self.leaving, self.shape_of(executor.session).size)

    def shape_of(self, session: Session) -> Shape:
        """What one executor of the session takes; worked out once for all sessions that are alike."""
        key = (session.resources, session.application.name)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = self._new_shape(*key)
        return shape

    def _new_shape(self, resources: Resources, application: str) -> Shape:
        size = (*resources, 1, *[int(application == capped) for capped in self._capped])
        most = min(there // taken for taken, there in zip(size, self.whole, strict=True) if taken)
        return Shape(size, most, dominant(resources, self._capacity))
