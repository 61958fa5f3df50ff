# SPDX-License-Identifier: Apache-2.0
"""What one session asks of the instance and holds of it, in numbers: all that a policy looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Amounts", "Claim", "dominant", "fits", "minus", "plus"]

Amounts: TypeAlias = "tuple[int, ...]"
"""Room in each dimension, the same ones in the same order for all of one decision: CPUs, bytes, GPUs, processes, and
one for each application that may have only so many instances. So every bound is kept by one comparison."""


def fits(size: Amounts, room: Sequence[int]) -> bool:
    """Whether this much is there, in every dimension."""
    for wanted, there in zip(size, room, strict=True):  # noqa: SIM110  all() takes twice as long, and this is asked often
        if wanted > there:
            return False
    return True


def plus(room: Amounts, size: Amounts) -> Amounts:
    """Sum, dimension by dimension."""
    return tuple([a + b for a, b in zip(room, size, strict=True)])


def minus(room: Amounts, size: Amounts) -> Amounts:
    """Difference, dimension by dimension."""
    return tuple([a - b for a, b in zip(room, size, strict=True)])


def dominant(size: Amounts, whole: Amounts) -> tuple[int, int]:
    """Of the resource of which this size takes the largest part: how much it takes, and how much there is."""
    parts = [(taken, there) for taken, there in zip(size, whole, strict=True) if taken and there]
    return max(parts, key=lambda part: part[0] / part[1], default=(1, 1))


@dataclass(slots=True)
class Claim:
    """One session in one decision."""

    id: str
    size: Amounts
    """What one executor takes."""
    demand: int
    """How many it would use now, of those that it may have and that the instance could ever hold."""
    held: int = 0
    """How many it has, those that still start and those that retire included."""
    pinned: int = 0
    """How many of those held may not be taken."""
    priority: int = 0
    dominant: tuple[int, int] = (1, 1)
    """See `dominant`. Only resources count, not the other bounds."""
    received: float = 0.0
    """Dominant share times seconds: how much of the instance it has had, in the virtual time of its equals."""
    settles_at: float = 0.0
    """When each executor that it holds will have served for a quantum."""
    settling_s: float = 0.0
    """How long that takes, from the launch of the one that is the last."""
    contends: bool = False
    """Whether at the decision before it waited for what an equal held, or held what an equal waited for."""
    given: int = 0
    """The outcome: how many it is to have."""

    @property
    def is_waiting(self) -> bool:
        """Whether it wants more than it has."""
        return self.demand > self.held

    def share(self, executors: int) -> float:
        """The dominant share of so many executors. Equal fractions are equal floats, whatever they are made of."""
        amount, whole = self.dominant
        return executors * amount / whole
