"""Who has to go so that others fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.engine.policies.claim import Amounts, fits, minus, plus
from hearth.engine.policies.placement import make_room


@pytest.mark.parametrize(
    ("missing", "room", "surplus", "expected"),
    [
        ([(1,)], (0,), [(1,), (1,), (1,)], [0]),  # as few as will do, the first ones
        ([(1,), (1,)], (0,), [(1,), (1,), (1,)], [0, 1]),
        ([(1,), (1,)], (1,), [(1,), (1,)], [0]),  # what is free counts
        ([(2,)], (1,), [(1,), (2,)], [0]),
        ([(3,)], (0,), [(1,), (2,), (2,)], [0, 1]),
        ([(2,)], (0,), [(1,), (2,)], [1]),  # the first turned out not to be needed
        ([(2,)], (0,), [(1,)], []),  # nobody goes for whom it would not be enough
        ([(4,), (1,)], (0,), [(1,), (1,)], [0]),  # and that stands in nobody's way
        ([(0, 1)], (4, 0), [(1, 0), (1, 1)], [1]),  # a CPU is no help to who lacks a GPU
        ([(1,)], (0,), [], []),
        ([], (0,), [(1,)], []),
    ],
)
def test_these_go(missing: list[Amounts], room: Amounts, surplus: list[Amounts], expected: list[int]) -> None:
    assert make_room(missing, room, surplus) == expected


sizes = st.tuples(st.integers(0, 4), st.integers(0, 4), st.just(1))


@given(st.lists(sizes, max_size=5), st.tuples(*[st.integers(0, 5)] * 3), st.lists(sizes, max_size=8))
def test_each_that_goes_is_needed(missing: list[Amounts], room: Amounts, surplus: list[Amounts]) -> None:
    chosen = make_room(missing, room, surplus)
    assert len(set(chosen)) == len(chosen)

    def served(going: list[int]) -> int:
        left: Amounts = room
        for index in going:
            left = plus(left, surplus[index])
        count = 0
        for size in missing:
            if fits(size, left):
                left = minus(left, size)
                count += 1
        return count

    if len(missing) == 1 and chosen:
        assert served(chosen) == 1
        assert all(served([other for other in chosen if other != one]) == 0 for one in chosen)
    assert served(chosen) >= served([])
