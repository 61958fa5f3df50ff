# SPDX-License-Identifier: Apache-2.0
"""A session of an earlier run of the instance, taken up again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flamepy.core.types import SessionState, TaskState

if TYPE_CHECKING:
    from hearth.engine.engine import Engine
    from hearth.engine.model import Session, Task

__all__ = ["order_closed", "restore_session"]


def restore_session(engine: Engine, session: Session, tasks: list[Task]) -> None:
    """Have the session with its tasks, by id from 1 on; those that have not ended wait.

    Sessions must come in the order of their keys.
    """
    state = engine.state
    session.tasks = tasks
    session.restored = len(tasks)
    session.pending.extend(task for task in tasks if task.state < TaskState.SUCCEED)
    counts = Counter(task.state for task in tasks)
    session.succeed = counts[TaskState.SUCCEED]
    session.failed = counts[TaskState.FAILED]
    session.cancelled = counts[TaskState.CANCELLED]
    _note_numbers(session)
    engine.tasks.hold(session.pending)
    state.sessions[session.id] = session
    state.next_session_key = session.key + 1
    if session.state is SessionState.CLOSED:
        state.closed_sessions[session.id] = session
    else:
        state.open_sessions[session.id] = session
        if session.is_closing:
            state.closing_sessions[session.id] = session
        if session.wanted:
            state.active[session.id] = session
            state.is_placement_due = True


def order_closed(engine: Engine) -> None:
    """Once all sessions are there: have the closed ones in the order of their closing, as they are to go."""
    closed = engine.state.closed_sessions
    for session in sorted(closed.values(), key=lambda session: session.completed or 0.0):
        closed.move_to_end(session.id)


def _note_numbers(session: Session) -> None:
    submitters = {submitter.index: submitter for submitter in session.submitters.values()}
    for task in session.tasks:
        if task.submitter:
            submitters[task.submitter].note(task.number, task.id, 1)
