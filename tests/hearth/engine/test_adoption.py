"""Executors of an earlier run are taken up again: with what they hold, within every bound, and in nobody's stead."""

from __future__ import annotations

import pytest

from flamepy.core.types import ApplicationAttributes, FlameError, SessionState, TaskState
from flamepy.protocol import CompletionBatch
from hearth.engine.engine import Engine
from hearth.engine.model import Executor, Session, Stored, Task
from hearth.engine.restoring import restore_session
from hearth.engine.state import Limits
from tests.hearth.engine.driver import make_spec, room
from tests.hearth.engine.invariants import check_engine

NOW = 1000.0


class Restarted:
    """An engine that was given a session of an earlier run, with so many tasks that wait."""

    def __init__(
        self, tasks: int = 0, *, limits: Limits | None = None, most: int | None = None, **spec: object
    ) -> None:
        self.now = NOW
        self.engine = Engine(room(4), limits=limits)
        self.engine.applications.register("app", ApplicationAttributes(command="x", max_instances=most), NOW)
        application = self.engine.applications.get("app")
        self.session = Session("s", make_spec("app", **spec), application, room(1), NOW)
        restored = [Task(number, number, b"in", None, NOW, stored=Stored.WAITING) for number in range(1, tasks + 1)]
        restore_session(self.engine, self.session, restored)

    def adopt(self, *holding: int, name: str = "old") -> Executor:
        try:
            return self.engine.executors.adopt(name, "s", holding, self.now)
        finally:
            self.step()

    def step(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.engine.step(self.now)
        check_engine(self.engine, self.now)

    def submit(self, count: int = 1) -> int:
        first = self.engine.tasks.submit("s", [b"new"] * count, None, 1, self.now)
        self.step()
        return first

    def report(self, executor: Executor, *done: int) -> None:
        answers: list[tuple[int, bytes | None, str | None]] = [(number, b"old", None) for number in done]
        self.engine.executors.report(executor, CompletionBatch(executor.id, done=answers), self.now)
        self.step()


def test_the_task_at_work_in_an_adopted_executor_may_take_no_longer_than_its_timeout() -> None:
    world = Restarted(1, timeout_s=5.0)
    world.adopt(1)
    world.step(5.1)
    assert world.session.tasks[0].state is TaskState.FAILED
    assert "timed out" in (world.session.tasks[0].message or "")


def test_a_task_in_an_adopted_executor_says_where_it_is() -> None:
    world = Restarted(1)
    world.adopt(1)
    assert world.session.tasks[0].executor == "old"


def test_an_adopted_executor_works_in_its_own_order() -> None:
    world = Restarted(3, timeout_s=5.0)
    executor = world.adopt(3, 1, 2)
    assert list(executor.in_flight) == [3, 1, 2]
    world.step(5.1)
    assert [task.state for task in world.session.tasks] == [TaskState.PENDING, TaskState.PENDING, TaskState.FAILED]


def test_the_answer_to_a_task_that_was_never_stored_is_not_taken_for_that_of_another_with_its_id() -> None:
    world = Restarted(1, max_instances=1)
    executor = world.adopt(1, 2)  # the daemon ended before it had stored task 2
    assert world.submit() == 2
    world.report(executor, 1)
    assert world.session.tasks[1].state is TaskState.PENDING, "the executor has not yet come past its own task 2"
    world.report(executor, 2)
    new = world.session.tasks[1]
    assert (new.state, new.executor, new.output) == (TaskState.RUNNING, "old", None)
    world.report(executor, 2)
    assert (new.state, world.session.succeed) == (TaskState.SUCCEED, 2)


def test_nor_if_the_other_was_submitted_before_the_executor_came_back() -> None:
    world = Restarted(1, max_instances=1)
    world.engine.expect(["old"], NOW + 1)
    assert world.submit() == 2
    executor = world.adopt(2)
    world.report(executor, 2)
    assert not world.session.succeed


def test_an_adopted_executor_that_does_not_come_back_from_a_ghost_is_killed() -> None:
    world = Restarted(1, max_instances=1)
    world.engine.cancellation.cancel("s", [1], NOW)
    executor = world.adopt(1)
    world.step(0.3)
    assert not executor.is_alive


def test_a_task_may_be_cancelled_that_an_adopted_executor_also_works_on() -> None:
    world = Restarted(1)
    world.step()
    (first,) = world.session.executors.values()
    world.engine.executors.attached(first.id, world.now)
    world.engine.executors.report(first, CompletionBatch(first.id, entered=True), world.now)
    world.step()
    assert list(first.in_flight) == [1]
    late = world.engine.executors.adopt("old", "s", [1], world.now)
    assert late.ghosts == {1}
    assert world.engine.cancellation.cancel("s", [1], world.now) == [1]
    assert first.ghosts == {1}


@pytest.mark.parametrize(
    ("limits", "most", "spec"),
    [
        (Limits(max_executors=1), None, {}),
        (None, 1, {}),
        (None, None, {"max_instances": 1}),
    ],
    ids=["of the instance", "of the application", "of the session"],
)
def test_no_bound_is_passed_by_adopting(limits: Limits | None, most: int | None, spec: dict[str, object]) -> None:
    world = Restarted(3, limits=limits, most=most, **spec)
    world.adopt(1, name="first")
    with pytest.raises(FlameError, match="its place has been taken"):
        world.adopt(2, name="second")


def test_executors_that_are_killed_because_the_instance_ends_cost_no_attempt() -> None:
    world = Restarted(1, max_retries=0)
    executor = world.adopt(1)
    world.engine.drain()
    world.engine.halt()
    world.engine.executors.exited(executor.id, "was killed by SIGKILL", world.now)
    (task,) = world.session.tasks
    assert (task.state, task.attempts, task.is_suspect) == (TaskState.PENDING, 0, False)
    assert world.session.state is SessionState.OPEN
