"""Who is not read, and for how long: property tests of the rules, whoever waits for whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hearth.broker.holds import Holds

PEERS = 4


class Peer:
    def __init__(self) -> None:
        self.is_read = True
        self.holds = Holds(self.pause, self.resume)

    def pause(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume(self) -> None:
        assert not self.is_read
        self.is_read = True


def stuck(peers: list[Peer]) -> bool:
    """Whether some wait in a circle of which nobody takes anything."""
    stalled = [peer.holds for peer in peers if peer.holds.is_stalled]
    reach = {one: {other for other in stalled if one.waits_for(other)} for one in stalled}
    for _ in stalled:
        reach = {one: ends.union(*(reach[end] for end in ends)) for one, ends in reach.items()}
    return any(one in ends for one, ends in reach.items())


numbers = st.integers(0, PEERS - 1)
steps = st.tuples(st.sampled_from(["wait", "wait", "stall", "move", "drain", "end"]), numbers, numbers)


@given(st.lists(steps, max_size=40))
def test_nobody_waits_for_ever_and_who_waits_for_nobody_is_read(steps: list[tuple[str, int, int]]) -> None:
    peers = [Peer() for _ in range(PEERS)]
    for what, number, other in steps:
        holds = peers[number].holds
        if what == "wait":
            holds.wait_for(peers[other].holds)
        elif what == "stall":
            holds.stall()
        elif what == "move":
            holds.is_stalled = False
        elif what == "drain":
            holds.let_go()
        else:
            holds.forget()
            peers[number] = Peer()
        assert not stuck(peers)
        for peer in peers:
            assert peer.is_read is not peer.holds.is_held
            assert peer.holds.is_held == any(peer.holds.waits_for(each.holds) for each in peers)


def test_a_service_that_stands_still_is_still_waited_for_by_one_that_does_too() -> None:
    service, flooder = Peer(), Peer()
    for peer in (service, flooder):
        peer.holds.wait_for(peer.holds)
        peer.holds.stall()
    flooder.holds.wait_for(service.holds)
    assert not flooder.is_read
    assert service.is_read
