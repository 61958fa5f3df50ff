"""The state: run, until the daemon ends."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING
from hearth.broker.state_machine import State, StateMachineService
from tests.hearth.broker.wire import Client, ask, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


class Clock:
    now = 2.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def state_machine(router: Router, clock: Clock) -> StateMachineService:
    return StateMachineService(router, clock)


def test_the_broker_runs_and_says_for_how_long(guest: Client) -> None:
    assert json_of(guest.ask("state-machine.get")) == {"state": "run", "duration": 2.5}


def test_nobody_waits_for_it_to_run(guest: Client) -> None:
    answer = guest.ask("state-machine.wait")
    assert (answer.aux1, answer.payload) == (0, None)


@pytest.mark.parametrize("payload", [None, {}, {"final": 11}])
def test_the_owner_may_look_once(client: Client, payload: object) -> None:
    assert json_of(client.ask("state-machine.monitor", payload)) == {"state": 5}


@pytest.mark.parametrize(("final", "is_over"), [(4, True), (5, True), (6, False)])
def test_a_stream_ends_when_its_final_state_is_reached(client: Client, final: int, is_over: bool) -> None:
    client.say(ask("state-machine.monitor", {"final": final}, flags=FLUX_MSGFLAG_STREAMING))
    assert json_of(client.got[0]) == {"state": 5}
    assert [answer.aux1 for answer in client.got[1:]] == [errno.ENODATA] * is_over


def test_a_guest_may_not_monitor(guest: Client) -> None:
    assert guest.ask("state-machine.monitor").aux1 == errno.EPERM


def test_a_final_state_is_a_number(client: Client) -> None:
    assert client.ask("state-machine.monitor", {"final": "run"}).aux1 == errno.EPROTO


def states(client: Client) -> list[int]:
    """What came; an errno as a negative number."""
    found = [-answer.aux1 if answer.aux1 else json_of(answer)["state"] for answer in client.got]
    client.got.clear()
    return found


def test_who_monitors_sees_each_state_until_the_final_one(client: Client, state_machine: StateMachineService) -> None:
    client.say(ask("state-machine.monitor", {"final": 7}, flags=FLUX_MSGFLAG_STREAMING))
    state_machine.enter(State.CLEANUP)
    state_machine.enter(State.CLEANUP)
    assert states(client) == [5, 6]
    state_machine.enter(State.FINALIZE)  # passed
    assert states(client) == [8, -errno.ENODATA]


def test_who_has_left_is_told_nothing(client: Client, state_machine: StateMachineService) -> None:
    client.say(ask("state-machine.monitor", flags=FLUX_MSGFLAG_STREAMING))
    client.hang_up()
    state_machine.enter(State.CLEANUP)
    assert states(client) == [5]


def test_the_duration_is_that_of_the_state(client: Client, state_machine: StateMachineService, clock: Clock) -> None:
    state_machine.enter(State.CLEANUP)
    clock.now += 1.5
    assert json_of(client.ask("state-machine.get")) == {"state": "cleanup", "duration": 1.5}


def test_once_it_ends_nobody_waits_for_it_to_run(guest: Client, state_machine: StateMachineService) -> None:
    state_machine.enter(State.SHUTDOWN)
    answer = guest.ask("state-machine.wait")
    assert (answer.aux1, text_of(answer)) == (errno.ENOENT, "broker has surpassed RUN state")
