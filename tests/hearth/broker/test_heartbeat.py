"""The daemon's heart beats only while somebody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hearth.broker.heartbeat import HeartbeatService
from tests.hearth.broker.wire import Client, json_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.broker.router import Router


class Clock:
    """Virtual time: keeps what is to be called, and calls it when told to."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.settled = 0

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.due.append((delay_s, call))

    def settle(self) -> None:
        self.settled += 1

    def run_next(self) -> None:
        _, call = self.due.pop(0)
        call()


@pytest.fixture(autouse=True)
def clock(router: Router) -> Clock:
    clock = Clock()
    HeartbeatService(router, clock.call_later, clock.settle)
    return clock


def pulses(client: Client) -> list[tuple[str | None, bytes | None, int]]:
    got = [(packet.topic, packet.payload, packet.rolemask) for packet in client.got]
    client.got.clear()
    return got


PULSE = ("heartbeat.pulse", None, 5)


def test_nothing_is_due_while_nobody_listens(client: Client, clock: Clock) -> None:
    client.ask("event.subscribe", {"topic": "heartbeat.pulse.x"})
    client.ask("event.subscribe", {"topic": "other"})
    assert clock.due == []


@pytest.mark.parametrize("prefix", ["", "heartbeat", "heartbeat.pulse"])
def test_a_listener_gets_a_pulse_every_two_seconds(client: Client, clock: Clock, prefix: str) -> None:
    client.ask("event.subscribe", {"topic": prefix})
    for beat in (1, 2):
        assert [delay_s for delay_s, _ in clock.due] == [2.0]
        clock.run_next()
        assert pulses(client) == [PULSE]
        assert clock.settled == beat


def test_the_second_listener_does_not_make_it_beat_twice(client: Client, other: Client, clock: Clock) -> None:
    client.ask("event.subscribe", {"topic": "heartbeat"})
    other.ask("event.subscribe", {"topic": ""})
    clock.run_next()
    assert len(clock.due) == 1
    assert pulses(client) == pulses(other) == [PULSE]


def test_it_stops_when_the_last_listener_left_and_goes_on_for_the_next(
    client: Client, other: Client, clock: Clock
) -> None:
    client.ask("event.subscribe", {"topic": "heartbeat"})
    client.hang_up()
    clock.run_next()
    assert clock.due == []
    assert clock.settled == 0
    other.ask("event.subscribe", {"topic": "heartbeat"})
    clock.run_next()
    assert pulses(other) == [PULSE]


def test_beats_are_counted(client: Client, guest: Client, clock: Clock) -> None:
    client.ask("event.subscribe", {"topic": "heartbeat"})
    clock.run_next()
    stats = json_of(guest.ask("heartbeat.stats-get"))
    assert stats == {"period": 2.0, "timeout": 300.0, "count": 1, "warn_thresh": 3}
