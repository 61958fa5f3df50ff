"""§10.8: many sessions and tasks of random sizes and lengths, more than there are executors.

HEARTH_SYSTEM_PROFILE chooses how many: smoke, default or heavy. HEARTH_SYSTEM_SEED repeats a run.
HEARTH_SYSTEM_TICKS is for how many seconds one session is kept busy.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import flamepy
from flamepy import SessionState
from flamepy.proto import types_pb2
from tests.compat.echo import ask, common_data

if TYPE_CHECKING:
    from tests.compat.conftest import NewEcho


@dataclass(frozen=True)
class Profile:
    """How much of everything. Lengths of texts are in characters."""

    sessions: int
    tasks: int
    threads: int
    instances_max: int
    text_max: int
    sleep_max_s: float


PROFILES = {
    "smoke": Profile(4, 24, 8, 2, 1 << 10, 0.1),
    "default": Profile(20, 250, 32, 4, 16 << 10, 0.5),
    "heavy": Profile(100, 2500, 128, 8, 64 << 10, 2.0),
}
PROFILE = PROFILES[os.environ.get("HEARTH_SYSTEM_PROFILE", "default")]
TICKS = int(os.environ.get("HEARTH_SYSTEM_TICKS", "3"))
TICK_S = 1.0


class Work(NamedTuple):
    """One task of one of the sessions."""

    session: int
    input: str
    output: str
    sleep_s: float


class Workload:
    """What is to be done, from a seed: most texts short, most tasks quick, every session with work."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self._random = random.Random(seed)
        self._profile = profile
        sessions = range(profile.sessions)
        self.common = [self._text(f"common {number}") for number in sessions]
        self.instances = [self._random.randint(1, profile.instances_max) for _ in sessions]
        busy = [*sessions, *self._random.choices(sessions, k=profile.tasks - profile.sessions)]
        self.work = [self._work(session, number) for number, session in enumerate(busy)]
        self._random.shuffle(self.work)

    def _work(self, session: int, number: int) -> Work:
        return Work(session, self._text(f"input {number}"), self._text(f"output {number}"), self._sleep_s())

    def _text(self, label: str) -> str:
        longest = self._random.choices([1 << 10, 8 << 10, self._profile.text_max], [65, 25, 10])[0]
        return label.ljust(self._random.randint(16, min(longest, self._profile.text_max)), "x")

    def _sleep_s(self) -> float:
        longest = self._random.choices([0, 0.05, 0.25, self._profile.sleep_max_s], [45, 35, 15, 5])[0]
        return self._random.uniform(0, min(longest, self._profile.sleep_max_s))


def snapshot() -> dict[str, Any]:
    """Nodes and executors, as upstream's reports have them."""
    nodes, executors = flamepy.list_nodes(), flamepy.list_executors()
    return {
        "nodes": {node.metadata.name: types_pb2.NodeState.Name(node.status.state) for node in nodes},
        "cpus": sum(node.status.capacity.cpu for node in nodes),
        "states": Counter(types_pb2.ExecutorState.Name(executor.status.state) for executor in executors),
        "of": Counter(executor.spec.node for executor in executors),
    }


@pytest.mark.timeout(900)
def test_many_sessions_share_few_executors_and_every_answer_is_right(new_session: NewEcho) -> None:
    seed = int(os.environ.get("HEARTH_SYSTEM_SEED", random.randrange(1 << 31)))
    print(f"again with HEARTH_SYSTEM_SEED={seed}")
    load = Workload(PROFILE, seed)
    before = snapshot()
    assert list(before["nodes"].values()) == ["Ready"]
    sessions = [
        new_session(common_data=common_data(value=common), max_instances=instances)
        for common, instances in zip(load.common, load.instances, strict=True)
    ]

    def run(work: Work) -> int:
        told = ask(sessions[work.session], input=work.input, output=work.output, sleep_s=work.sleep_s)
        assert (told["output"], told["common"]) == (work.output, load.common[work.session])
        return work.session

    with ThreadPoolExecutor(PROFILE.threads) as pool:
        done = Counter(pool.map(run, load.work))
    assert done == Counter(work.session for work in load.work)
    for number, session in enumerate(sessions):
        found = flamepy.get_session(session.id)
        assert (found.state, found.succeed, found.failed) == (SessionState.OPEN, done[number], 0)
    after = snapshot()
    assert after["nodes"] == before["nodes"]
    assert set(after["of"]) <= set(after["nodes"])
    assert set(after["states"]) <= set(types_pb2.ExecutorState.keys())
    assert sum(after["states"].values()) <= after["cpus"] + PROFILE.sessions  # those that leave still count


@pytest.mark.timeout(60 + 2 * TICKS)
def test_a_session_that_works_for_long_never_fails(new_session: NewEcho) -> None:
    session = new_session(common_data=common_data(value="steady"), max_instances=1)
    for tick in range(1, TICKS + 1):
        told = ask(session, input="in", output=f"out {tick}", sleep_s=TICK_S)
        assert (told["output"], told["common"], told["tasks"]) == (f"out {tick}", "steady", tick)
        found = flamepy.get_session(session.id)
        assert (found.state, found.succeed, found.failed) == (SessionState.OPEN, tick, 0)
