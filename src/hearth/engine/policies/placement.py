# SPDX-License-Identifier: Apache-2.0
"""Which executors have to go so that others fit: as few as will do, and none that would not help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearth.engine.policies.claim import fits, minus, plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearth.engine.policies.claim import Amounts

__all__ = ["make_room"]


def make_room(missing: Iterable[Amounts], room: Amounts, surplus: Sequence[Amounts]) -> list[int]:
    """Choose among the surplus, best to go first; returns the places of those chosen.

    missing are the executors to come, most urgent first; room is what is free or will be soon. For one
    that would not fit even then nothing is chosen, and it stands in nobody's way.
    """
    left = dict(enumerate(surplus))
    chosen: list[int] = []
    for size in missing:
        taken = _take(size, room, left)
        for index in taken:
            room = plus(room, left.pop(index))
        chosen += taken
        if fits(size, room):
            room = minus(room, size)
    return chosen


def _take(size: Amounts, room: Amounts, surplus: dict[int, Amounts]) -> list[int]:
    """The first that together make it fit, without those that turn out not to be needed; none if all would not do."""
    taken: list[int] = []
    for index, freed in surplus.items():
        if fits(size, room):
            break
        if any(got and wanted > there for got, wanted, there in zip(freed, size, room, strict=True)):
            taken.append(index)
            room = plus(room, freed)
    if not fits(size, room):
        return []
    for index in taken.copy():
        without = minus(room, surplus[index])
        if fits(size, without):
            taken.remove(index)
            room = without
    return taken
