"""Nobody saves up a claim while it wants nothing, and nobody who was alone pays for it later."""

from __future__ import annotations

from hearth.engine.policies.claim import Claim
from hearth.engine.policies.fairness import next_turn
from hearth.engine.policies.filling import fill
from hearth.engine.policies.ordering import POLICIES, make_order
from hearth.engine.policies.virtual_time import VirtualTime, find_contenders


def contending(*received: float, **fields: object) -> list[Claim]:
    return [
        Claim(str(n), (1,), 9, held=1, contends=True, received=got, **fields)  # type: ignore[arg-type]  # by Claim itself
        for n, got in enumerate(received)
    ]


def test_a_newcomer_starts_with_the_least_that_one_who_is_served_has_received() -> None:
    newcomer = Claim("new", (1,), 9)
    VirtualTime(1.0).admit([*contending(30.0, 31.0), newcomer])
    assert newcomer.received == 30.0


def test_one_that_waits_for_long_does_not_give_newcomers_a_claim_on_the_past() -> None:
    waiting = Claim("waits", (1,), 9, contends=True, received=1.0)
    newcomer = Claim("new", (1,), 9)
    VirtualTime(1.0).admit([*contending(30.0), waiting, newcomer])
    assert (newcomer.received, waiting.received) == (30.0, 1.0)


def test_who_worked_alone_owes_nothing_to_who_comes_then() -> None:
    time = VirtualTime(1.0)
    alone = Claim("alone", (1,), 9, held=1, received=3600.0)
    time.admit([alone])
    newcomer = Claim("new", (1,), 9)
    time.admit([alone, newcomer])
    assert newcomer.received == alone.received


def test_who_worked_alone_and_left_owes_nothing_when_it_comes_back() -> None:
    time = VirtualTime(1.0)
    time.admit([Claim("first", (1,), 9, held=1, received=3600.0)])
    second = Claim("second", (1,), 9)
    time.admit([second])
    assert second.received == 3600.0


def test_who_comes_back_does_not_lose_what_it_owes() -> None:
    debtor = Claim("debtor", (1,), 9, received=40.0)
    VirtualTime(1.0).admit([*contending(30.0, 31.0), debtor])
    assert debtor.received == 40.0


def test_priorities_keep_their_own_time() -> None:
    newcomer = Claim("new", (1,), 9, priority=1)
    VirtualTime(1.0).admit([*contending(30.0), *contending(7.0, priority=1), newcomer])
    assert newcomer.received == 7.0


def test_nobody_makes_up_for_more_than_a_minute_of_the_instance() -> None:
    """Those far behind keep their order: where all were raised to one bound, they never took turns again."""
    claims = contending(1000.0, 1.0, 999.0, 0.0)
    VirtualTime(1.0).admit(claims)
    assert [claim.received for claim in claims] == [1000.0, 939.0, 999.0, 938.0]


def decided(claims: list[Claim], slots: int) -> list[Claim]:
    for claim in claims:
        claim.dominant = (claim.size[0], slots)
    fill(claims, (slots,), make_order(POLICIES, 100.0, 1.0))
    find_contenders(claims)
    return claims


def test_those_contend_who_wait_at_the_level_of_what_others_hold() -> None:
    three = decided([Claim(name, (1,), 9) for name in "abc"], 8)
    assert [claim.given for claim in three] == [3, 3, 2]
    assert [claim.contends for claim in three] == [True, True, True]


def test_who_has_its_share_does_not_contend() -> None:
    even = decided([Claim(name, (1,), 9) for name in "ab"], 8)
    uneven = decided([Claim("large", (3,), 9), Claim("small", (1,), 9)], 4)
    met = decided([Claim("met", (1,), 1), Claim("a", (1,), 9), Claim("b", (1,), 9)], 8)
    assert not any(claim.contends for claim in even + uneven)
    assert [claim.contends for claim in met] == [False, True, True]


def test_the_next_turn_is_when_the_quantum_or_the_lead_is_over() -> None:
    holds = Claim("holds", (1,), 9, held=1, received=2.0, settles_at=100.7)
    waits = Claim("waits", (1,), 9, received=2.0)
    claims = decided([holds, waits], 1)
    assert (holds.given, waits.given) == (1, 0)
    assert next_turn(claims, 100.0, 1.0) == 100.7
    waits.received = 3.0  # it comes first again when the other has received as much
    turn = next_turn(claims, 100.0, 1.0)
    assert turn is not None
    assert 101.0 < turn < 101.01


def test_there_is_no_next_turn_where_nobody_waits() -> None:
    claims = decided([Claim("a", (1,), 1, held=1), Claim("b", (1,), 1, held=1)], 2)
    assert next_turn(claims, 100.0, 1.0) is None
