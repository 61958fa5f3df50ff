"""The tables of lives: what is in them, what cannot happen, and that every state has an end."""

from __future__ import annotations

import pytest

from flamepy.core.types import TaskState
from hearth.engine.lifecycle import (
    EXECUTOR_LIFE,
    TASK_LIFE,
    ExecutorEvent,
    ExecutorState,
    IllegalTransition,
    TaskEvent,
)
from hearth.engine.model import Executor
from tests.hearth.engine.driver import World


def test_final_states_of_tasks_are_final() -> None:
    for after in TASK_LIFE.values():
        assert not {TaskState.SUCCEED, TaskState.FAILED, TaskState.CANCELLED} & set(after)


def test_every_event_of_a_task_can_happen() -> None:
    assert set(TASK_LIFE) == set(TaskEvent)
    assert all(TASK_LIFE.values())


def test_only_a_waiting_task_is_dispatched() -> None:
    assert set(TASK_LIFE[TaskEvent.DISPATCHED]) == {TaskState.PENDING}


def test_a_task_that_has_not_ended_may_be_cancelled() -> None:
    assert set(TASK_LIFE[TaskEvent.CANCELLED]) == {TaskState.PENDING, TaskState.RUNNING}


def test_an_executor_may_die_in_every_state_and_nothing_follows_death() -> None:
    for state in ExecutorState:
        assert EXECUTOR_LIFE[state, ExecutorEvent.EXITED] is ExecutorState.RELEASED
    assert {event for state, event in EXECUTOR_LIFE if state is ExecutorState.RELEASED} == {ExecutorEvent.EXITED}


def test_every_event_of_an_executor_can_happen() -> None:
    assert {event for _, event in EXECUTOR_LIFE} == set(ExecutorEvent)


def test_no_executor_becomes_younger() -> None:
    assert all(after >= before for (before, _), after in EXECUTOR_LIFE.items())


@pytest.mark.parametrize("state", list(ExecutorState))
@pytest.mark.parametrize("event", list(ExecutorEvent))
def test_what_is_not_in_the_table_is_refused_and_changes_nothing(state: ExecutorState, event: ExecutorEvent) -> None:
    executor = Executor("x", World().session())
    executor.state = state
    if (state, event) in EXECUTOR_LIFE:
        executor.advance(event)
        assert executor.state is EXECUTOR_LIFE[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"executor x is {state.name}: {event.name} cannot happen"):
            executor.advance(event)
        assert executor.state is state


def test_tables_are_read_only() -> None:
    assert not hasattr(EXECUTOR_LIFE, "__setitem__")
    assert not hasattr(TASK_LIFE, "__setitem__")
