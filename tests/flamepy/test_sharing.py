"""Several users of one instance that is too small for all of them: real processes, real time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

import flamepy
from tests.conftest import Daemon, act, executors_of, register_actor, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from tests.conftest import Place

BOUND = 4
SOON_S = 10.0
"""For a share: a task, a process that leaves, one that starts, on a machine that may be busy."""


@pytest.fixture
def crowded(place: Place) -> Iterator[flamepy.Connection]:
    """A daemon with room for two executors, whatever the machine has."""
    configuration = place.folder / "flame-cluster.yaml"
    configuration.write_text("cluster: {capacity: 'cpu=2,mem=2g,gpu=0', quantum: 0.3}\n")
    daemon = Daemon(place, "--config", str(configuration))
    with contextlib.closing(daemon.connect()) as connection:
        register_actor(connection)
        yield connection
    daemon.stop()


def working(session: flamepy.Session) -> int:
    return sum(executor.state == BOUND for executor in executors_of(session))


def run_many(session: flamepy.Session, count: int, seconds: float) -> list[Future[bytes | None]]:
    return [session.run(act("sleep", seconds)) for _ in range(count)]


def test_a_second_session_gets_its_half_beside_one_with_thousands_of_tasks(crowded: flamepy.Connection) -> None:
    first, second = (crowded.create_session(flamepy.SessionAttributes("actor")) for _ in range(2))
    backlog = run_many(first, 5000, 0.01)
    wait_until(lambda: working(first) == 2, "the first session has the whole instance")
    wanted = run_many(second, 100, 0.01)
    wait_until(lambda: (working(first), working(second)) == (1, 1), "each has one executor", SOON_S)
    wait_until(lambda: wanted[-1].done(), "the second session's tasks are done", SOON_S)
    assert not backlog[-1].done(), "it waited for the first session's tasks"
    assert all(future.result() is None for future in wanted)
    wait_until(lambda: working(first) == 2, "the first has the whole instance again", SOON_S)
    done = [future for future in backlog if future.done()]
    assert all(future.result() is None for future in done), "a task was lost on the way"


def test_three_sessions_take_turns_on_two_executors(crowded: flamepy.Connection) -> None:
    sessions = [crowded.create_session(flamepy.SessionAttributes("actor")) for _ in range(3)]
    futures = [run_many(session, 2000, 0.005) for session in sessions]
    wait_until(lambda: all(mine[200].done() for mine in futures), "each gets forward", 3 * SOON_S)
    assert not any(mine[-1].done() for mine in futures), "somebody was done before the others had begun"
