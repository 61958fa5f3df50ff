"""What must hold in the engine after each of its steps, whatever happened before."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from flamepy.core.types import SessionState, Shim, TaskState
from hearth.engine.deadlines import timeout_of
from hearth.engine.lifecycle import ExecutorState
from hearth.engine.model import Resources

if TYPE_CHECKING:
    from hearth.engine.engine import Engine
    from hearth.engine.model import Executor, Session, Task


def check_engine(engine: Engine, now: float) -> None:
    """Raise AssertionError if any invariant is broken."""
    state = engine.state
    used = Resources(0, 0, 0)
    for executor in state.executors.values():
        used = used.plus(executor.session.resources)
        assert executor.session.executors.get(executor.id) is executor, f"{executor.id} is unknown to its session"
        _check_executor(executor, now, state.limits.cancel_grace_s)
    assert state.free.plus(used) == state.capacity, "free and used room is not the capacity"
    assert min(state.free) >= 0, "more is used than there is"
    assert len(state.executors) <= state.limits.max_executors, "there are more executors than allowed"
    instances = Counter(executor.session.application.name for executor in state.executors.values())
    for application in state.applications.all():
        most = application.attributes.max_instances or math.inf
        assert instances[application.name] <= most, f"{application.name} has more instances than it may have"
    for session in state.sessions.values():
        _check_session(session)
        for executor_id in session.executors:
            assert executor_id in state.executors, f"session {session.id} lists {executor_id}, which is gone"
        if not state.is_draining:
            _check_nobody_waits_in_vain(session)
    if not state.is_draining and not state.expected:
        _check_scheduling(engine, now)
    assert state.open_sessions == {s.id: s for s in state.sessions.values() if s.state is SessionState.OPEN}
    assert state.closed_sessions == {s.id: s for s in state.sessions.values() if s.state is SessionState.CLOSED}
    assert state.closing_sessions == {s.id: s for s in state.open_sessions.values() if s.is_closing}
    assert state.limits.max_sessions is None or len(state.sessions) <= state.limits.max_sessions
    held = sum(task.size_bytes for session in state.sessions.values() for task in session.tasks)
    assert engine.tasks.held_bytes == held, "held bytes are miscounted"
    waiting = sum(len(task.input or b"") for session in state.open_sessions.values() for task in _unfinished(session))
    assert engine.tasks.waiting_bytes == waiting, "waiting bytes are miscounted"
    assert state.next_deadline is None or state.next_deadline > now, "something due was not done"
    assert not state.actions, "actions were left behind"


def _unfinished(session: Session) -> list[Task]:
    return [task for task in session.tasks if task.state < TaskState.SUCCEED]


def _check_session(session: Session) -> None:
    states = Counter(task.state for task in session.tasks)
    counted = {
        TaskState.PENDING: len(session.pending) + len(session.delayed),
        TaskState.RUNNING: session.running,
        TaskState.SUCCEED: session.succeed,
        TaskState.FAILED: session.failed,
        TaskState.CANCELLED: session.cancelled,
    }
    for task_state, count in counted.items():
        assert states[task_state] == count, f"{session.id}: {task_state.name} is {states[task_state]}, counted {count}"
    pending = [task.id for task in session.pending]
    assert all(before < after for before, after in pairwise(pending)), f"pending is out of order: {pending}"
    held = [(executor, task) for executor in session.executors.values() for task in executor.in_flight.values()]
    in_flight = [task.id for executor, task in held if task.id not in executor.ghosts]
    assert len(set(in_flight)) == len(in_flight), f"a task is in two hands: {in_flight}"
    assert len(in_flight) == session.running, "running is not what executors hold"
    assert all(task is session.tasks[task.id - 1] for executor, task in held if task.id not in executor.ghosts)
    assert not set(pending) & set(in_flight), "a task waits and runs"
    assert not set(session.delayed) & {*pending, *in_flight}, "a paused task waits or runs"
    assert not session.is_closing or session.outstanding or session.state is SessionState.CLOSED, "it is not closed"
    for task in session.tasks:
        is_final = task.state >= TaskState.SUCCEED
        assert is_final == bool(task.completed), f"task {task.id} is {task.state.name}, completed {task.completed}"
    most = session.spec.max_instances
    assert most is None or session.alive <= most, f"{session.alive} executors, at most {most} are allowed"
    if session.state is SessionState.CLOSED:
        assert not session.outstanding
        assert not session.alive, f"executors of closed session {session.id} were not told to leave"
        assert session.completed is not None


def _check_executor(executor: Executor, now: float, grace_s: float) -> None:
    tasks = executor.in_flight.values()
    for task in tasks:
        has_ended = task.state >= TaskState.SUCCEED
        assert has_ended == (task.id in executor.ghosts), f"{executor.id} holds {task.id}, which is {task.state.name}"
    assert executor.ghosts <= set(executor.in_flight), "a ghost is in nobody's hands"
    if any(task.is_suspect for task in tasks):
        assert len(tasks) == 1, "a suspect task is not alone"
    _check_deadline(executor, now, grace_s)


def _check_deadline(executor: Executor, now: float, grace_s: float) -> None:
    """Whether somebody looks in time at a task that must not be at work for ever."""
    at_work = executor.task_at_work
    if at_work is None:
        return
    assert executor.state <= ExecutorState.UNBINDING, f"{executor.id} was told to die with tasks in its hands"
    limit_s = grace_s if at_work.id in executor.ghosts else timeout_of(executor.session, at_work)
    if limit_s is not None:
        due = executor.at_work_since + limit_s
        assert now < due, f"task {at_work.id} is at work for too long"
        assert executor.look_at is not None, f"nobody will look at {executor.id}"
        assert now < executor.look_at <= max(due, now + 60.0)


def _check_scheduling(engine: Engine, now: float) -> None:
    state = engine.state
    retiring = {executor.id: executor for executor in state.executors.values() if executor.is_retiring}
    assert state.retiring == retiring, "somebody retires, and nobody knows"
    assert all(executor.in_flight for executor in retiring.values()), "one that retires has nothing left to do"
    assert state.waiting or not retiring, "executors retire, and nobody waits for them"
    wanting = []
    for session in state.open_sessions.values():
        if session.wanted or session.executors:
            assert session.id in state.active, f"{session.id} is looked at by nobody"
        attributes = session.application.attributes
        can_start = (
            session.gave_up is None
            and now >= session.retry_at
            and session.resources.fits(state.capacity)
            and (attributes.shim or Shim.HOST) in state.shims
            and len(session.executors) == session.alive  # else an end is waited for, which may be a failed attempt
        )
        if can_start and session.wanted > session.alive:
            wanting.append(session)
    if len(state.executors) < state.limits.max_executors:
        capped = [session for session in wanting if session.application.attributes.max_instances]
        fitting = {s.id for s in wanting if s not in capped and s.resources.fits(state.free)}
        assert not fitting or state.waiting - fitting, f"{fitting} could have more, and the room is kept for nobody"


def _check_nobody_waits_in_vain(session: Session) -> None:
    idle = [executor for executor in session.executors.values() if executor.is_idle]
    assert not (session.pending and idle), f"{session.id}: tasks wait beside an idle executor"
    for executor in idle:
        kept = executor.idle_check_pending or session.alive <= session.spec.min_instances
        assert kept, f"{executor.id} is idle, and nobody will ever look at it again"
