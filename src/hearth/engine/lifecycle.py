# SPDX-License-Identifier: Apache-2.0
"""The lives of tasks and executors, as tables. What is not in a table cannot happen.

Session lives are two states and three ways from one to the other (`Sessions.close`), too short for a table.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from flamepy.core.types import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXECUTOR_LIFE", "TASK_LIFE", "ExecutorEvent", "ExecutorState", "IllegalTransition", "TaskEvent"]


class IllegalTransition(Exception):
    """Our bug: something was asked of a thing whose state does not allow it."""


class TaskEvent(Enum):
    """What happens to a task."""

    DISPATCHED = auto()
    SUCCEEDED = auto()
    FAILED = auto()
    RETURNED = auto()
    """Its executor gave it back, or died and it may be done again."""
    CANCELLED = auto()


TASK_LIFE: Final[Mapping[TaskEvent, Mapping[TaskState, TaskState]]] = MappingProxyType(
    {
        TaskEvent.DISPATCHED: {TaskState.PENDING: TaskState.RUNNING},
        TaskEvent.SUCCEEDED: {TaskState.RUNNING: TaskState.SUCCEED},
        # A waiting task fails when its session has given up getting instances.
        TaskEvent.FAILED: {TaskState.RUNNING: TaskState.FAILED, TaskState.PENDING: TaskState.FAILED},
        TaskEvent.RETURNED: {TaskState.RUNNING: TaskState.PENDING},
        TaskEvent.CANCELLED: {TaskState.PENDING: TaskState.CANCELLED, TaskState.RUNNING: TaskState.CANCELLED},
    }
)
"""event → state before → state after. Keyed by event first, so that a batch of equal events looks up once."""


class ExecutorState(IntEnum):
    """Where an executor is in its life; the numbers are Flame's (an executor of ours is never idle unbound)."""

    VOID = 1
    """Launched, its process has not called in."""
    BINDING = 3
    """The process is there and enters the session."""
    BOUND = 4
    """It takes tasks."""
    UNBINDING = 5
    """Told to leave."""
    RELEASING = 6
    """Told to die."""
    RELEASED = 7


class ExecutorEvent(Enum):
    """What happens to an executor."""

    ATTACHED = auto()
    ENTERED = auto()
    DISMISSED = auto()
    OVERDUE = auto()
    """It took too long: to call in, to leave, or for the task at work."""
    EXITED = auto()


EXECUTOR_LIFE: Final[Mapping[tuple[ExecutorState, ExecutorEvent], ExecutorState]] = MappingProxyType(
    {
        (ExecutorState.VOID, ExecutorEvent.ATTACHED): ExecutorState.BINDING,
        (ExecutorState.BINDING, ExecutorEvent.ENTERED): ExecutorState.BOUND,
        (ExecutorState.VOID, ExecutorEvent.DISMISSED): ExecutorState.RELEASING,
        (ExecutorState.BINDING, ExecutorEvent.DISMISSED): ExecutorState.UNBINDING,
        (ExecutorState.BOUND, ExecutorEvent.DISMISSED): ExecutorState.UNBINDING,
        (ExecutorState.VOID, ExecutorEvent.OVERDUE): ExecutorState.RELEASING,
        (ExecutorState.BOUND, ExecutorEvent.OVERDUE): ExecutorState.RELEASING,
        (ExecutorState.UNBINDING, ExecutorEvent.OVERDUE): ExecutorState.RELEASING,
        **{(state, ExecutorEvent.EXITED): ExecutorState.RELEASED for state in ExecutorState},
    }
)
