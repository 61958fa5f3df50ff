from __future__ import annotations

import queue
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flamepy.core.watchdog import Watchdog
from tests.conftest import DEADLINE_S, FAULT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Place


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def not_found() -> bool:
    return False


class Looks:
    """A step_in that notes what it was asked and gives prepared answers, the last one again and again."""

    def __init__(self, *answers: int | None) -> None:
        self._answers = list(answers)
        self.asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def __call__(self, done_before: int) -> int | None:
        self.asked.put(done_before)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def next(self) -> int:
        return self.asked.get(timeout=DEADLINE_S)


def test_it_looks_only_when_armed(ends: tuple[socket.socket, socket.socket]) -> None:
    looks = Looks(None)
    with Watchdog(ends[0], looks, not_found):
        ends[1].send(b"what arrives is not its business")
    assert looks.asked.empty()


def test_armed_it_looks_until_there_is_no_work(ends: tuple[socket.socket, socket.socket]) -> None:
    looks = Looks(5, 5, 7, None)
    with Watchdog(ends[0], looks, not_found) as watchdog:
        watchdog.arm()
        assert [looks.next() for _ in range(4)] == [-1, 5, 5, 7]
    assert looks.asked.empty()


def test_it_can_be_armed_again(ends: tuple[socket.socket, socket.socket]) -> None:
    looks = Looks(None)
    with Watchdog(ends[0], looks, not_found) as watchdog:
        for _ in range(3):
            watchdog.arm()
            assert looks.next() == -1
            watchdog.arm()
            assert looks.next() == -1


def test_it_ends_though_it_is_looking(ends: tuple[socket.socket, socket.socket]) -> None:
    looks = Looks(1)
    with Watchdog(ends[0], looks, not_found) as watchdog:
        watchdog.arm()
        looks.next()


def test_a_service_that_ends_by_itself_after_the_hang_up_is_left_alone(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    with Watchdog(ends[0], Looks(None), not_found) as watchdog:
        ends[1].close()
        watchdog.arm()


BUSY = """
import signal, socket, sys
from flamepy.core.watchdog import Watchdog
{handler}
here, there = socket.socketpair()
with Watchdog(here, lambda done: done, lambda: False) as watchdog:
    {arm}
    there.close()
    print("hung up", flush=True)
    while True:
        signal.pause()
"""


@pytest.mark.parametrize("arm", ["pass", "watchdog.arm()"], ids=["not armed", "armed"])
@pytest.mark.parametrize(
    ("handler", "signum"),
    [("", signal.SIGTERM), ("signal.signal(signal.SIGTERM, lambda *_: None)", signal.SIGKILL)],
    ids=["ordinary", "that ignores SIGTERM"],
)
def test_a_busy_service_is_ended_after_the_hang_up(
    place: Place, handler: str, arm: str, signum: signal.Signals
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUSY.format(handler=handler, arm=arm)],
        env=place.environment(),
        capture_output=True,
        text=True,
        timeout=FAULT_S,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("hung up\n", -signum)
