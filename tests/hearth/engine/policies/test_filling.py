"""Who gets how much of an instance, worked out by hand, and what holds for any claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.engine.policies.claim import Amounts, Claim, dominant
from hearth.engine.policies.filling import fill
from hearth.engine.policies.ordering import POLICIES, make_order

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = 1000


def claim(name: str, size: Amounts, whole: Amounts, demand: int = MANY, **fields: object) -> Claim:
    return Claim(name, size, demand, dominant=dominant(size, whole), **fields)  # type: ignore[arg-type]  # checked by Claim itself


def shares(claims: Sequence[Claim], whole: Amounts, policies: Sequence[str] = POLICIES) -> dict[str, int]:
    fill(claims, whole, make_order(policies, now=100.0, quantum_s=1.0))
    return {each.id: each.given for each in claims}


PAPER = (9, 18)
"""Ghodsi et al., "Dominant Resource Fairness", section 4: 9 CPUs and 18 GB; A's tasks take <1, 4>, B's <3, 1>."""


def test_the_example_of_the_paper_gives_three_tasks_to_a_and_two_to_b() -> None:
    claims = [claim("A", (1, 4), PAPER), claim("B", (3, 1), PAPER)]
    assert shares(claims, PAPER) == {"A": 3, "B": 2}
    assert [each.share(each.given) for each in claims] == [2 / 3, 2 / 3]


def test_the_example_of_the_paper_is_filled_in_its_order() -> None:
    """Its table 1, where B happens to come first."""
    claims = [claim("B", (3, 1), PAPER), claim("A", (1, 4), PAPER)]
    granted = fill(claims, PAPER, make_order(POLICIES, 0.0, 1.0))
    assert [each.id for each in granted] == ["B", "A", "A", "B", "A"]


@pytest.mark.parametrize(
    ("whole", "asked", "expected"),
    [
        # One resource: max-min fairness. Who wants little gets it, the others share what is left.
        ((12,), [(1, MANY), (1, MANY), (1, MANY)], [4, 4, 4]),
        ((12,), [(1, 2), (1, MANY), (1, MANY)], [2, 5, 5]),
        ((12,), [(1, 2), (1, 3), (1, MANY)], [2, 3, 7]),
        ((12,), [(1, MANY)], [12]),
        # Shares are of the resource, not of instances: of 12 CPUs each gets 6, as six instances or as three.
        ((12,), [(1, MANY), (2, MANY)], [6, 3]),
        # What no longer fits stops nobody else.
        ((10,), [(4, MANY), (1, MANY)], [1, 6]),
        ((10,), [(7, MANY), (4, MANY)], [1, 0]),
        ((3,), [(4, MANY), (1, MANY)], [0, 3]),
        ((0,), [(1, MANY)], [0]),
    ],
)
def test_one_resource_is_shared_so(whole: Amounts, asked: list[tuple[int, int]], expected: list[int]) -> None:
    claims = [claim(str(n), (cpu,), whole, demand) for n, (cpu, demand) in enumerate(asked)]
    assert list(shares(claims, whole).values()) == expected


@pytest.mark.parametrize(
    ("whole", "sizes", "expected"),
    [
        # cpu, memory, gpu. Two want the same GPUs, a third only CPUs: the GPUs are halved, the rest is the third's.
        ((16, 64, 4), [(1, 4, 1), (1, 4, 1), (1, 4, 0)], [2, 2, 12]),
        # Memory is dominant for one, CPUs for the other: both end at three quarters of theirs.
        ((8, 32, 0), [(1, 8, 0), (2, 2, 0)], [3, 2]),
        # A GPU counts as the whole of it, so its holder gets nothing more before the others have as much.
        ((4, 4, 1), [(1, 1, 1), (1, 1, 0)], [1, 3]),
    ],
)
def test_the_dominant_resource_counts(whole: Amounts, sizes: list[Amounts], expected: list[int]) -> None:
    claims = [claim(str(n), size, whole) for n, size in enumerate(sizes)]
    assert list(shares(claims, whole).values()) == expected


def test_the_higher_priority_gets_all_it_wants_before_the_lower_gets_anything() -> None:
    whole = (8,)
    claims = [
        claim("low", (1,), whole),
        claim("high", (1,), whole, 5, priority=2),
        claim("mid", (1,), whole, 2, priority=1),
    ]
    assert shares(claims, whole) == {"high": 5, "mid": 2, "low": 1}
    claims[1].demand = MANY
    assert shares(claims, whole) == {"high": 8, "mid": 0, "low": 0}


def test_equal_priorities_share() -> None:
    whole = (9,)
    claims = [claim(name, (1,), whole, priority=priority) for name, priority in (("a", 1), ("b", 1), ("c", 0))]
    claims[0].demand = 2
    claims[1].demand = 3
    assert shares(claims, whole) == {"a": 2, "b": 3, "c": 4}


def test_the_lower_priority_may_have_what_is_too_small_for_the_higher() -> None:
    whole = (4,)
    claims = [claim("high", (3,), whole, priority=1), claim("low", (1,), whole)]
    assert shares(claims, whole) == {"high": 1, "low": 1}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (("priority", "drf"), {"old": 0, "young": 0, "high": 4, "higher": 4}),
        (("drf", "priority"), {"old": 0, "young": 0, "high": 4, "higher": 4}),
        (("priority",), {"old": 0, "young": 0, "high": 8, "higher": 0}),
        (("drf",), {"old": 2, "young": 2, "high": 2, "higher": 2}),
        ((), {"old": 8, "young": 0, "high": 0, "higher": 0}),
    ],
)
def test_each_policy_may_be_left_out_and_without_any_the_oldest_comes_first(
    policies: tuple[str, ...], expected: dict[str, int]
) -> None:
    whole = (8,)
    claims = [claim(name, (1,), whole, priority=int("high" in name)) for name in expected]
    assert shares(claims, whole, policies) == expected


def test_what_is_pinned_stays_and_counts() -> None:
    whole = (8,)
    claims = [claim("pinned", (1,), whole, held=6, pinned=6), claim("other", (1,), whole)]
    assert shares(claims, whole) == {"pinned": 6, "other": 2}
    claims[1].priority = 7
    assert shares(claims, whole) == {"pinned": 6, "other": 2}


def test_every_bound_is_a_dimension() -> None:
    """cpu, processes, instances of one application: its two sessions share what it may have."""
    whole = (16, 9, 4)
    claims = [
        claim("one", (1, 1, 1), (16, 1 << 20, 1 << 20)),
        claim("two", (1, 1, 1), (16, 1 << 20, 1 << 20)),
        claim("free", (1, 1, 0), (16, 1 << 20, 1 << 20)),
    ]
    assert shares(claims, whole) == {"one": 2, "two": 2, "free": 5}


# -- taking turns


def test_among_equals_the_one_that_received_least_comes_first() -> None:
    whole = (2,)
    claims = [claim(name, (1,), whole, received=received) for name, received in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
    assert shares(claims, whole) == {"a": 0, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("received", "settles_at", "keeps"),
    [
        (3.0, 100.5, True),  # it has served for less than a quantum
        (3.0, 100.0, False),
        (0.5, 100.0, True),  # it has received less than who waits
        (9.0, 100.5, False),  # it got it while who waits was far behind, and did not fit
    ],
)
def test_who_holds_the_only_executor_keeps_it_for_a_quantum(received: float, settles_at: float, keeps: bool) -> None:
    whole = (1,)
    claims = [
        claim("waits", (1,), whole, received=1.0),
        claim("holds", (1,), whole, held=1, received=received, settles_at=settles_at, settling_s=1.1),
    ]
    assert shares(claims, whole) == {"waits": int(not keeps), "holds": int(keeps)}


def test_who_holds_more_than_its_share_loses_it_before_the_quantum_is_over() -> None:
    whole = (4,)
    claims = [claim("holds", (1,), whole, held=4, settles_at=1000.0), claim("waits", (1,), whole, received=50.0)]
    assert shares(claims, whole) == {"holds": 2, "waits": 2}


def test_the_odd_executor_is_kept_until_the_lead_is_a_quantum_for_each_of_the_others() -> None:
    whole = (5,)
    for lead, expected in ((0.39, 3), (0.41, 2)):  # two more executors, each a fifth of the instance
        claims = [claim("two", (1,), whole, held=2), claim("three", (1,), whole, held=3, received=lead)]
        assert shares(claims, whole)["three"] == expected


# -- whatever the claims

sizes = st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(0, 1), st.just(1))
rooms = st.tuples(st.integers(0, 30), st.integers(0, 60), st.integers(0, 3), st.integers(0, 40))


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Claim], Amounts]:
    whole = draw(rooms)
    claims: list[Claim] = []
    left = list(whole)
    for number in range(draw(st.integers(0, 8))):
        size = draw(sizes)
        most = min(there // taken for there, taken in zip(left, size, strict=True) if taken)
        held = draw(st.integers(0, most))
        left = [there - held * taken for there, taken in zip(left, size, strict=True)]
        pinned = draw(st.integers(0, held))
        claims.append(
            claim(
                str(number),
                size,
                whole,
                draw(st.integers(pinned, 40)),
                held=held,
                pinned=pinned,
                priority=draw(st.integers(0, 2)),
                received=draw(st.floats(0, 10)),
                settles_at=draw(st.sampled_from([0.0, 200.0])),
                settling_s=draw(st.sampled_from([0.0, 1.1, 60.0])),
            )
        )
    return claims, whole


policies = st.lists(st.sampled_from(POLICIES), unique=True)


@given(situations(), policies)
def test_no_more_is_given_than_there_is_or_is_wanted_and_nothing_useful_is_left(
    situation: tuple[list[Claim], Amounts], names: list[str]
) -> None:
    claims, whole = situation
    granted = fill(claims, whole, make_order(names, 100.0, 1.0))
    left = [there - sum(each.given * each.size[d] for each in claims) for d, there in enumerate(whole)]
    assert min(left) >= 0
    for each in claims:
        assert each.pinned <= each.given <= max(each.demand, each.pinned)
        assert granted.count(each) == max(0, each.given - each.held)
        still_fits = all(taken <= there for taken, there in zip(each.size, left, strict=True))
        assert each.given >= each.demand or not still_fits, f"{each.id} could have one more"


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 20), st.floats(0, 10)), min_size=1, max_size=12))
def test_equals_with_unmet_demand_never_differ_by_more_than_one_executor(
    slots: int, asked: list[tuple[int, float]]
) -> None:
    claims = [claim(str(n), (1,), (slots,), demand, received=got) for n, (demand, got) in enumerate(asked)]
    shares(claims, (slots,))
    unmet = [each.given for each in claims if each.given < each.demand]
    if unmet:
        assert max(unmet) - min(unmet) <= 1
        assert all(each.given <= min(unmet) + 1 for each in claims), "one has more though another wants it"
    assert sum(each.given for each in claims) == min(slots, sum(demand for demand, _ in asked))


@given(situations())
def test_no_priority_loses_to_a_lower_one(situation: tuple[list[Claim], Amounts]) -> None:
    """What the higher ones get is the same whether there are lower ones or not, but for what those have pinned."""
    claims, whole = situation
    for each in claims:
        each.pinned = 0
    everybody = shares(claims, whole)
    for priority in (1, 2):
        above = [each for each in claims if each.priority >= priority]
        assert shares(above, whole).items() <= everybody.items()
