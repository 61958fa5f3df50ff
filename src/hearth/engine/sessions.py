# SPDX-License-Identifier: Apache-2.0
"""Making, opening and closing sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode, SessionState, Shim
from hearth.engine.events import EventCode
from hearth.engine.model import EventRecord, Resources, Session

if TYPE_CHECKING:
    from flamepy.protocol import SessionSpec
    from hearth.engine.model import Application
    from hearth.engine.state import State
    from hearth.engine.tasks import Tasks

__all__ = ["Sessions"]

_CURES = {Shim.WASM: "; install the extra, hearth[wasm], where the instance runs, and start it again"}
"""By kind of application: what makes an instance run it."""


class Sessions:
    """The sessions of one engine."""

    def __init__(self, state: State, tasks: Tasks) -> None:
        self._state = state
        self._tasks = tasks

    def create(self, session_id: str, spec: SessionSpec, now: float) -> Session:
        """Raises FlameError INVALID_ARGUMENT, NOT_FOUND (the application) or ALREADY_EXISTS (the id)."""
        state = self._state
        _check_spec(session_id, spec)
        application = state.applications.get(spec.application)
        if session_id in state.sessions:
            raise FlameError(
                FlameErrorCode.ALREADY_EXISTS,
                f"session {session_id!r} already exists; open it, or choose another id",
            )
        resources = self._resources(spec)
        session = Session(session_id, spec, application, resources, now)
        session.key = state.next_session_key
        state.next_session_key += 1
        state.sessions[session_id] = state.open_sessions[session_id] = session
        shim = application.attributes.shim or Shim.HOST
        if shim not in state.shims:
            text = f"No executor of this instance runs <{shim.name}> applications: its tasks wait{_CURES.get(shim, '')}"
            session.events.append(EventRecord(EventCode.NO_SHIM, text, now))
        if not resources.fits(state.capacity):
            text = f"No executor with <{resources}> fits this instance, which has <{state.capacity}>: its tasks wait"
            session.events.append(EventRecord(EventCode.DOES_NOT_FIT, text, now))
        state.note_session(session)
        if session.wanted:
            state.active[session_id] = session
            state.is_placement_due = True
        return session

    def open(self, session_id: str, spec: SessionSpec | None, now: float) -> Session:
        """The open session of that id, made if there is none and a spec is given.

        Raises FlameError NOT_FOUND without a spec; INVALID_ARGUMENT if the session is closed or the
        spec says something else than the session was made with.
        """
        session = self._state.sessions.get(session_id)
        if session is None:
            if spec is None:
                raise FlameError(
                    FlameErrorCode.NOT_FOUND, f"session {session_id!r} not found, and no spec to create it"
                )
            return self.create(session_id, spec, now)
        if session.state is not SessionState.OPEN:
            raise FlameError(
                FlameErrorCode.INVALID_ARGUMENT, f"session {session_id!r} is not open; a closed session never reopens"
            )
        if spec is not None:
            self._check_same(session, spec)
        return session

    def close(self, session_id: str, now: float) -> Session:
        """Cancel what waits and let the executors go; closing again changes nothing.

        Raises FlameError NOT_FOUND; INVALID_STATE while a task is running, and then nothing has changed.
        """
        state = self._state
        session = state.session(session_id)
        if session.state is SessionState.CLOSED:
            return session
        if session.running:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"Cannot close session with running tasks: {session_id!r} has {session.running}; wait for them first",
            )
        session.state = SessionState.CLOSED
        session.completed = now
        del state.open_sessions[session_id]
        state.note_session(session)
        self._tasks.cancel_pending(session, now)
        self._tasks.end_subscriptions(session)
        state.is_placement_due = True
        return session

    def discard(self, session: Session, reason: str, now: float) -> None:
        """It could not be stored, and nobody was told that it exists: it never was."""
        state = self._state
        if session.state is SessionState.OPEN:
            self._tasks.disown(session, session.tasks, reason, now)
            session.state = SessionState.CLOSED
            session.completed = now
            del state.open_sessions[session.id]
            self._tasks.end_subscriptions(session)
        self._tasks.forget_session(session)
        del state.sessions[session.id]
        state.note_gone_session(session)
        state.is_placement_due = True

    def unregister_application(self, name: str) -> None:
        """Remove an application and its closed sessions.

        Raises FlameError NOT_FOUND; INVALID_STATE while it has open sessions.
        """
        state = self._state
        application = state.applications.get(name)
        mine = self.of(application)
        still_open = [session.id for session in mine if session.state is SessionState.OPEN]
        if still_open:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"application {name!r} has open sessions ({', '.join(still_open[:3])}…); close them first",
            )
        for session in mine:
            self._tasks.forget_session(session)
            del state.sessions[session.id]
            state.note_gone_session(session)
        state.applications.remove(name)

    def of(self, application: Application) -> list[Session]:
        """All sessions of an application, open and closed."""
        return [session for session in self._state.sessions.values() if session.application is application]

    def _resources(self, spec: SessionSpec) -> Resources:
        """What an executor takes; a request for nothing at all would let a session have executors without end."""
        if spec.resreq is None or not any(wanted := Resources.of(spec.resreq)):
            return self._state.limits.default_resources
        return wanted

    def _check_same(self, session: Session, spec: SessionSpec) -> None:
        wanted_and_got = (
            ("application", session.spec.application, spec.application),
            ("resreq", str(session.resources), str(self._resources(spec))),
            ("min_instances", session.spec.min_instances, spec.min_instances),
            ("max_instances", session.spec.max_instances, spec.max_instances),
            ("priority", session.spec.priority, spec.priority),
        )
        for name, is_, asked in wanted_and_got:
            if is_ != asked:
                raise FlameError(
                    FlameErrorCode.INVALID_ARGUMENT,
                    f"session {session.id!r} spec mismatch: {name} is {is_}, asked for {asked}",
                )


def _check_spec(session_id: str, spec: SessionSpec) -> None:
    problem = None
    if not session_id:
        problem = "its id is empty"
    elif spec.min_instances < 0 or (spec.max_instances is not None and spec.max_instances < 1):
        problem = f"want min_instances from 0 and max_instances from 1, got {spec.min_instances}, {spec.max_instances}"
    elif spec.max_instances is not None and spec.min_instances > spec.max_instances:
        problem = f"min_instances {spec.min_instances} is over max_instances {spec.max_instances}"
    elif not 0 <= spec.priority < 1 << 32:
        problem = f"priority is {spec.priority}, want 0 to 4294967295"
    elif spec.timeout_s is not None and not spec.timeout_s > 0:
        problem = f"timeout is {spec.timeout_s} s, want more than 0"
    elif spec.max_retries is not None and spec.max_retries < 0:
        problem = f"max_retries is {spec.max_retries}, want 0 or more"
    elif spec.batch_size < 1:
        problem = f"batch_size is {spec.batch_size}, want 1 or more"
    elif spec.resreq is not None and min(spec.resreq.cpu, spec.resreq.memory, spec.resreq.gpu) < 0:
        problem = f"resreq has a negative amount: {Resources.of(spec.resreq)}"
    if problem is not None:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"session {session_id!r}: {problem}")
