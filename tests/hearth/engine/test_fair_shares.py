"""What sessions get when they want more than there is: their share, in the end and on the way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from flamepy.core.types import ApplicationAttributes, ResourceRequirement
from hearth.engine.model import Resources
from hearth.engine.policies.claim import dominant
from hearth.engine.state import Limits
from tests.hearth.engine import driver
from tests.hearth.engine.driver import GIB, Habits, make_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearth.engine.model import Session


class World(driver.World):
    """With so many tasks that the invariants are not checked after each step; test_simulation.py does that."""

    def __init__(self, cpus: int = 4, **arguments: Any) -> None:
        super().__init__(cpus, check_every=500, **arguments)


TASK_S = 0.5
PLENTY = 12_000
WITHIN = 0.05


def busy_sessions(world: World, names: Iterable[str], application: str = "app", **spec: object) -> list[Session]:
    """Sessions with more work than they will ever get done."""
    sessions = [world.session(name, application, **spec) for name in names]
    for session in sessions:
        world.submit(PLENTY, session.id)
    return sessions


def service(world: World, sessions: list[Session], seconds: float, warm_up_s: float = 10.0) -> list[float]:
    """The executors that each has had at work, on average over so many seconds."""
    world.run(warm_up_s)
    before = [session.succeed for session in sessions]
    world.run(seconds)
    return [(session.succeed - start) * TASK_S / seconds for session, start in zip(sessions, before, strict=True)]


def many_sessions(slots: int) -> tuple[World, list[Session]]:
    """A thousand are open, twenty have work."""
    world = World(slots, habits=Habits(task_s=TASK_S))
    for number in range(980):
        world.engine.sessions.create(f"open-{number}", make_spec(), world.now)
    return world, busy_sessions(world, [f"busy-{number}" for number in range(20)])


def test_twenty_of_a_thousand_sessions_have_five_executors_each_of_a_hundred() -> None:
    world, sessions = many_sessions(100)
    assert service(world, sessions, 60.0) == [pytest.approx(5.0, rel=WITHIN)] * 20
    assert len(world.engine.state.active) == 20, "a decision looks at sessions that want nothing"


def test_twenty_of_a_thousand_sessions_take_turns_on_eight_executors() -> None:
    world, sessions = many_sessions(8)
    served = service(world, sessions, 300.0)
    mean = sum(served) / 20
    assert served == [pytest.approx(mean, rel=WITHIN)] * 20
    assert mean > 0.9 * 8 / 20, "taking turns costs too much"


@pytest.mark.parametrize(("slots", "count"), [(1, 2), (8, 3), (5, 2), (16, 7)])
def test_what_cannot_be_divided_goes_round(slots: int, count: int) -> None:
    world = World(slots, habits=Habits(task_s=TASK_S))
    served = service(world, busy_sessions(world, map(str, range(count))), 200.0)
    mean = sum(served) / count
    assert served == [pytest.approx(mean, rel=WITHIN)] * count
    assert mean > 0.9 * slots / count


def test_an_executor_that_goes_round_stays_longer_with_who_has_more_of_them() -> None:
    """Each of two has to have two and a half of five, on average; nobody starts a process a second for it."""
    world = World(5, habits=Habits(task_s=TASK_S))
    service(world, busy_sessions(world, "ab"), 200.0)
    assert len(world.launches) < 100


@pytest.mark.parametrize(
    ("capacity", "requests"),
    [
        (Resources(9, 18 * GIB, 0), [(1, 4, 0), (3, 1, 0)]),
        (Resources(10, 100 * GIB, 0), [(1, 1, 0), (2, 1, 0)]),
        (Resources(4, 100 * GIB, 0), [(4, 1, 0), (1, 1, 0)]),
        (Resources(4, 100 * GIB, 0), [(4, 1, 0), (2, 1, 0), (1, 1, 0)]),
    ],
)
def test_sessions_of_different_size_get_equal_dominant_shares(
    capacity: Resources, requests: list[tuple[int, int, int]]
) -> None:
    world = World(capacity=capacity, habits=Habits(task_s=TASK_S))
    sessions = []
    for cpu, memory, gpu in requests:
        resreq = ResourceRequirement(cpu, memory * GIB, gpu)
        sessions += busy_sessions(world, [f"{cpu}-{memory}-{gpu}"], resreq=resreq)
    shares = []
    for session, executors in zip(sessions, service(world, sessions, 300.0), strict=True):
        amount, whole = dominant(session.resources, capacity)
        shares.append(executors * amount / whole)
    assert shares == [pytest.approx(sum(shares) / len(shares), rel=WITHIN)] * len(shares)


@pytest.mark.parametrize(
    ("capacity", "requests"),
    [
        # Two need all of it, the others fit in pairs, whose quanta never end at the same time.
        (Resources(7, 100 * GIB, 3), [(7, 4, 0), (7, 8, 1), (3, 7, 0), (4, 5, 1), (3, 4, 0), (4, 8, 1)]),
        # The first always finds room beside the others, so it is soon far ahead of them.
        (Resources(5, 16 * GIB, 0), [(1, 5, 0), (2, 1, 0), (4, 3, 0)]),
        (Resources(8, 16 * GIB, 1), [(1, 6, 1), (8, 4, 0), (8, 6, 0), (4, 1, 0), (6, 7, 0)]),
    ],
)
def test_no_size_of_executors_keeps_a_session_out(capacity: Resources, requests: list[tuple[int, int, int]]) -> None:
    world = World(capacity=capacity, habits=Habits(task_s=TASK_S))
    sessions = []
    for number, (cpu, memory, gpu) in enumerate(requests):
        sessions += busy_sessions(world, [str(number)], resreq=ResourceRequirement(cpu, memory * GIB, gpu))
    world.run(200.0)  # long enough for those that are ahead to be far ahead
    assert min(service(world, sessions, 60.0)) > 0.05


def test_sessions_take_turns_on_the_gpu_while_others_have_the_cpus() -> None:
    world = World(capacity=Resources(8, 64 * GIB, 1), habits=Habits(task_s=TASK_S))
    on_gpu = busy_sessions(world, ["g1", "g2"], resreq=ResourceRequirement(1, GIB, 1))
    on_cpu = busy_sessions(world, ["c1", "c2"], resreq=ResourceRequirement(1, GIB, 0))
    served = service(world, on_gpu + on_cpu, 200.0)
    assert served[:2] == [pytest.approx(0.47, rel=WITHIN)] * 2
    assert served[2:] == [pytest.approx(3.5, rel=WITHIN)] * 2


# -- coming and going


def test_a_second_session_gets_its_half_as_soon_as_tasks_end() -> None:
    world = World(8, habits=Habits(task_s=TASK_S))
    (first,) = busy_sessions(world, ["first"])
    world.run(5.0)
    assert first.alive == 8
    (second,) = busy_sessions(world, ["second"])
    world.run(2 * TASK_S)
    assert (first.alive, second.alive) == (4, 4)
    world.run(60.0)
    assert (first.alive, second.alive) == (4, 4)
    assert len(world.launches) == 12, "nobody was started in vain"


def test_nobodys_running_task_is_taken_for_anothers_share() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    busy_sessions(world, ["first"])
    world.run(5.2)
    busy_sessions(world, ["second"])
    world.run(30.0)
    assert not world.kills
    worked = Counter((process.id, task_id) for process in world.processes.values() for task_id in process.worked)
    assert set(worked.values()) == {1}, "a task was begun twice"


def test_a_task_of_hours_is_waited_for_and_then_the_executor_goes_over() -> None:
    world = World(2, habits=Habits(task_s=7200.0))
    (first,) = busy_sessions(world, ["first"])
    world.run(1.0)
    world.habits = Habits(task_s=TASK_S)
    (second,) = busy_sessions(world, ["second"])
    world.run(7000.0)
    assert (first.alive, second.alive) == (2, 0)
    world.run(300.0)
    assert (first.alive, second.alive) == (1, 1)
    assert first.succeed == 2
    assert second.succeed > 0


def test_who_gets_no_more_tasks_is_not_idle_for_long_when_nobody_waits_any_more() -> None:
    """It was on its way out; the session that it should have gone for is closed, so it goes on."""
    world = World(2, habits=Habits(task_s=5.0))
    (first,) = busy_sessions(world, ["first"])
    world.run(1.0)
    busy_sessions(world, ["second"])
    assert sum(executor.is_retiring for executor in first.executors.values()) == 1
    world.close("second")
    assert not any(executor.is_retiring for executor in first.executors.values())
    world.run(60.0)
    assert len(world.launches) == 2
    assert first.succeed > 20


def test_executors_that_still_start_go_first() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    (first,) = busy_sessions(world, ["first"])
    (second,) = busy_sessions(world, ["second"])
    assert (first.alive, second.alive) == (2, 0)
    world.run(0.15)
    assert (first.alive, second.alive) == (2, 2)
    assert all(not process.worked for process in world.processes.values() if not process.is_alive)


def test_who_was_alone_for_half_an_hour_does_not_pay_for_it() -> None:
    world = World(3, habits=Habits(task_s=TASK_S))
    (alone,) = busy_sessions(world, ["alone"])
    world.run(1800.0)
    (late,) = busy_sessions(world, ["late"])
    served = service(world, [alone, late], 60.0)
    assert served == [pytest.approx(1.5, rel=0.1)] * 2


def test_who_wanted_nothing_for_half_an_hour_has_saved_up_nothing() -> None:
    world = World(1, habits=Habits(task_s=TASK_S))
    sessions = busy_sessions(world, "ab")
    idle = world.session("idle")
    world.run(1800.0)
    world.submit(PLENTY, "idle")
    served = service(world, [*sessions, idle], 90.0)
    assert served == [pytest.approx(sum(served) / 3, rel=0.1)] * 3


def test_a_session_with_little_to_do_gets_it_done_beside_those_with_much() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    busy_sessions(world, "abc")
    world.run(5.0)
    for number in range(5):
        small = world.session(f"small-{number}")
        world.submit(2, small.id)
        began = world.now
        world.run_until(lambda small=small: small.succeed == 2)  # type: ignore[misc]  # mypy knows no default in a lambda
        assert world.now - began < 3.0
        world.close(small.id)
        world.run(1.0)


@pytest.mark.parametrize("slots", [1, 3])
def test_everyone_is_served_within_the_turns_of_all_others(slots: int) -> None:
    world = World(slots, habits=Habits(task_s=0.1))
    sessions = busy_sessions(world, map(str, range(12)))
    world.run(20.0)
    turn_s = 1.5  # a quantum, its last task, and starting the next one
    for _ in range(4):
        before = [session.succeed for session in sessions]
        world.run(2 * turn_s * len(sessions) / slots)
        assert all(session.succeed > start for session, start in zip(sessions, before, strict=True))


def test_a_hundred_sessions_with_work_take_turns_too() -> None:
    """With so many, decisions are not made as often."""
    world = World(8, habits=Habits(task_s=0.1))
    sessions = busy_sessions(world, map(str, range(100)))
    world.run(60.0)
    assert min(session.succeed for session in sessions) > 0
    assert sum(session.succeed for session in sessions) * 0.1 > 0.75 * 8 * 60.0


# -- one task after another


class Sequential:
    """A client that submits its next task when it has the last result."""

    def __init__(self, world: World, name: str, think_s: float) -> None:
        self.world = world
        self.session = world.session(name)
        self.stream = world.stream(name)
        self.stream.on_result = lambda: world.at(think_s, self._submit)
        self._submit()

    def _submit(self) -> None:
        tasks, session = self.world.engine.tasks, self.session
        tasks.submit(session.id, [b""], self.stream.subscription, len(session.tasks) + 1, self.world.now)


def test_sequential_users_keep_their_executor_while_there_is_room() -> None:
    world = World(4, habits=Habits(task_s=0.001))
    clients = [Sequential(world, name, think_s=0.0003) for name in "abcd"]
    world.run(5.0)
    assert len(world.launches) == 4
    assert all(client.session.succeed > 3_000 for client in clients)


def test_sequential_users_that_are_too_many_take_turns_and_not_a_process_for_each_task() -> None:
    world = World(2, habits=Habits(task_s=0.005))
    clients = [Sequential(world, str(number), think_s=0.002) for number in range(3)]
    world.run(60.0)
    done = [client.session.succeed for client in clients]
    assert done == [pytest.approx(sum(done) / 3, rel=WITHIN)] * 3
    assert len(world.launches) < 2 * 60, "an executor did not serve for a quantum"
    assert sum(done) * 0.007 > 0.85 * 2 * 60


def test_a_sequential_user_keeps_its_executor_when_it_could_serve_nobody_who_waits() -> None:
    world = World(capacity=Resources(2, 8 * GIB, 1), habits=Habits(task_s=0.001))
    busy_sessions(world, ["g1", "g2"], resreq=ResourceRequirement(1, GIB, 1))
    client = Sequential(world, "c", think_s=0.0003)
    world.run(5.0)
    assert len(world.launches_of(client.session)) == 1


# -- quanta


def test_an_executor_serves_for_a_quantum_before_it_is_anothers_turn() -> None:
    world = World(1, limits=Limits(quantum_s=5.0), habits=Habits(task_s=0.1))
    first, second = busy_sessions(world, ["first", "second"])
    world.run(5.0)
    assert (first.alive, second.alive) == (1, 0)
    world.run(0.5)
    assert (first.alive, second.alive) == (0, 1)


def test_one_that_took_long_to_start_serves_three_times_as_long() -> None:
    world = World(1, limits=Limits(attach_s=100.0), habits=Habits(start_s=20.0, task_s=0.1))
    first, second = busy_sessions(world, ["first", "second"])
    world.run(20.0 + 59.0)
    assert (first.alive, second.alive) == (1, 0)
    world.run(2.0)
    assert (first.alive, second.alive) == (0, 1)


def test_one_that_hangs_on_entering_does_not_keep_its_place_for_ever() -> None:
    world = World(1, limits=Limits(attach_s=30.0))
    world.next_habits.append(Habits(enter_s=None))
    busy_sessions(world, ["hangs"])
    (other,) = busy_sessions(world, ["other"])
    world.run(29.0)
    assert other.succeed == 0
    world.run(15.0)
    assert other.succeed > 0


# -- priorities


def test_a_higher_priority_gets_everything_as_tasks_end_and_the_lower_goes_on_afterwards() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    (low,) = busy_sessions(world, ["low"])
    world.run(5.0)
    high = world.session("high", priority=1)
    world.submit(100, "high")
    world.run(2 * TASK_S)
    assert (low.alive, high.alive) == (0, 4)
    done = low.succeed
    world.run(5.0)
    assert low.succeed == done
    world.run_until(lambda: world.is_done("high"))
    world.run(2.0)
    assert (low.alive, high.alive) == (4, 0)
    assert not world.kills


def test_a_lower_priority_has_what_the_higher_does_not_want() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    (high,) = busy_sessions(world, ["high"], priority=5, max_instances=3)
    (low,) = busy_sessions(world, ["low"])
    world.run(10.0)
    assert (high.alive, low.alive) == (3, 1)


def test_without_drf_the_older_of_equals_comes_first() -> None:
    world = World(4, limits=Limits(policies=("priority",)), habits=Habits(task_s=TASK_S))
    old = world.session("old", max_instances=3)
    world.run(1.0)
    young = world.session("young")
    world.submit(100, "young")
    world.run(1.0)
    assert (old.alive, young.alive) == (0, 4)
    world.submit(12, "old")
    world.run(1.0)
    assert (old.alive, young.alive) == (3, 1)
    world.run(4.0)
    assert (old.alive, young.alive) == (0, 4)


def test_without_priority_it_counts_for_nothing() -> None:
    world = World(4, limits=Limits(policies=("drf",)), habits=Habits(task_s=TASK_S))
    (low,) = busy_sessions(world, ["low"])
    (high,) = busy_sessions(world, ["high"], priority=9)
    world.run(5.0)
    assert (low.alive, high.alive) == (2, 2)


# -- bounds


def test_the_sessions_of_an_application_share_the_instances_that_it_may_have() -> None:
    world = World(8, habits=Habits(task_s=TASK_S))
    world.register("capped", ApplicationAttributes(command="x", max_instances=3))
    one, two = (busy_sessions(world, [name], application="capped")[0] for name in ("one", "two"))
    (free,) = busy_sessions(world, ["free"])
    served = service(world, [one, two, free], 100.0)
    assert served == [pytest.approx(1.5, rel=0.06)] * 2 + [pytest.approx(5.0, rel=WITHIN)]


@pytest.mark.parametrize("most", [0, None])
def test_an_application_without_a_number_has_no_bound(most: int | None) -> None:
    world = World(8)
    world.register("free", ApplicationAttributes(command="x", max_instances=most))
    (session,) = busy_sessions(world, ["s"], application="free")
    assert session.alive == 8


def test_there_are_never_more_executors_than_allowed() -> None:
    world = World(8, limits=Limits(max_executors=3), habits=Habits(task_s=TASK_S))
    first, second = busy_sessions(world, ["first", "second"])
    world.run(1.0)
    for _ in range(50):
        world.run(0.1)
        assert len(world.engine.state.executors) <= 3
    assert {first.alive, second.alive} == {1, 2}


def test_minimum_instances_stay_with_a_session_that_has_more_than_its_share() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    (keeper,) = busy_sessions(world, ["keeper"], min_instances=3)
    world.run(1.0)
    others = busy_sessions(world, "ab")
    world.run(20.0)
    assert keeper.alive == 3
    assert sum(other.alive for other in others) == 1
    assert all(other.succeed > 10 for other in others)


def test_a_session_that_cannot_start_leaves_its_share_to_others() -> None:
    world = World(4, habits=Habits(task_s=TASK_S))
    world.register("broken")
    world.habits_of["broken"] = Habits(refused="no such file")
    (good,) = busy_sessions(world, ["good"])
    bad = world.session("bad", "broken")
    world.submit(5, "bad")
    world.run_until(lambda: bad.gave_up is not None)
    world.run(2.0)
    assert good.alive == 4
