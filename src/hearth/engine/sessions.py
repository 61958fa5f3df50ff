# SPDX-License-Identifier: Apache-2.0
"""Making, opening and closing sessions, and what becomes of closed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode, SessionState, Shim
from flamepy.protocol import MAX_COUNT, CloseMode
from hearth.engine.actions import SessionClosed
from hearth.engine.events import EventCode
from hearth.engine.model import Application, EventRecord, Resources, Session
from hearth.engine.tasks import check_options

if TYPE_CHECKING:
    from flamepy.core.types import ApplicationAttributes
    from flamepy.protocol import SessionSpec
    from hearth.engine.cancellation import Cancellation
    from hearth.engine.state import State
    from hearth.engine.tasks import Tasks

__all__ = ["Sessions"]

_CURES = {Shim.WASM: "; install the extra, hearth[wasm], where the instance runs, and start it again"}
"""By kind of application: what makes an instance run it."""
_AMOUNT_MAX = (1 << 63) - 1
_NAMED_MAX = 3  # of what is in the way: enough to see which they are


class Sessions:
    """The sessions of one engine."""

    def __init__(self, state: State, tasks: Tasks, cancellation: Cancellation) -> None:
        self._state = state
        self._tasks = tasks
        self._cancellation = cancellation

    def create(self, session_id: str, spec: SessionSpec, now: float) -> Session:
        """Make a session; where the instance holds as many as it may, the one closed first goes for it.

        Raises FlameError INVALID_ARGUMENT, NOT_FOUND (the application), ALREADY_EXISTS (the id), or
        INVALID_STATE if as many are open as the instance may hold.
        """
        state = self._state
        _check_spec(session_id, spec)
        application = state.applications.get(spec.application)
        if session_id in state.sessions:
            raise FlameError(
                FlameErrorCode.ALREADY_EXISTS,
                f"session {session_id!r} already exists; open it, or choose another id",
            )
        self._make_room()
        resources = self._resources(spec)
        session = Session(session_id, spec, application, resources, now)
        session.key = state.next_session_key
        state.next_session_key += 1
        state.sessions[session_id] = state.open_sessions[session_id] = session
        shim = application.attributes.shim or Shim.HOST
        if shim not in state.shims:
            text = f"No executor of this instance runs <{shim.name}> applications: its tasks wait{_CURES.get(shim, '')}"
            session.add_event(EventRecord(EventCode.NO_SHIM, text, now))
        if not resources.fits(state.capacity):
            text = f"No executor with <{resources}> fits this instance, which has <{state.capacity}>: its tasks wait"
            session.add_event(EventRecord(EventCode.DOES_NOT_FIT, text, now))
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

    def close(self, session_id: str, now: float, mode: CloseMode = CloseMode.PLAIN) -> Session:
        """Close a session as the mode says, and let its executors go; closing again changes nothing.

        PLAIN cancels what waits; it raises FlameError INVALID_STATE while a task is running, and then nothing
        has changed. FORCE cancels what runs, too. DRAIN takes no more tasks and closes when the last one has
        ended: that may be later, `SessionClosed` then says so. Raises FlameError NOT_FOUND.
        """
        session = self._state.session(session_id)
        if session.state is SessionState.CLOSED:
            return session
        if mode is CloseMode.DRAIN:
            session.is_closing = True
            self._state.note_session(session)
            self._state.closing_sessions[session_id] = session
            self.close_drained(now)
        elif mode is CloseMode.PLAIN and session.running:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"Cannot close session with running tasks: {session_id!r} has {session.running}; wait for them first,"
                " or close it with drain or force",
            )
        else:
            self._close(session, now)
        return session

    def close_drained(self, now: float) -> None:
        """Close the sessions that were to be closed when their last task has ended, if it has."""
        for session in list(self._state.closing_sessions.values()):
            if not session.outstanding:
                self._close(session, now)

    def _close(self, session: Session, now: float) -> None:
        state = self._state
        session.state = SessionState.CLOSED
        session.completed = now
        del state.open_sessions[session.id]
        state.closed_sessions[session.id] = session
        state.note_session(session)
        self._cancellation.cancel_all(session, now)
        self._tasks.end_subscriptions(session)
        state.is_placement_due = True
        if state.closing_sessions.pop(session.id, None) is not None:
            state.actions.append(SessionClosed(session))

    # -- what becomes of closed ones

    def delete(self, session_id: str) -> None:
        """Forget a closed session. Raises FlameError NOT_FOUND; INVALID_STATE if it is open."""
        session = self._state.session(session_id)
        if session.state is not SessionState.CLOSED:
            raise FlameError(FlameErrorCode.INVALID_STATE, f"session {session_id!r} is open; close it first")
        self._forget(session)

    def _make_room(self) -> None:
        """For one session more: forget those that were closed first."""
        state, limit = self._state, self._state.limits.max_sessions
        if limit is None:
            return
        if len(state.open_sessions) >= limit:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"the instance has {len(state.open_sessions)} open sessions, and max_sessions is {limit};"
                " close one first",
            )
        while len(state.sessions) >= limit:
            self._forget(next(iter(state.closed_sessions.values())))

    def _forget(self, session: Session) -> None:
        """Nobody finds it any more; its executors may still be on their way out."""
        self._tasks.forget_session(session)
        del self._state.sessions[session.id], self._state.closed_sessions[session.id]
        self._state.note_gone_session(session)

    # -- applications in use

    def discard(self, session: Session, reason: str, now: float) -> None:
        """It could not be stored, and nobody was told that it exists: it never was."""
        if session.state is SessionState.OPEN:
            self._cancellation.disown(session, session.tasks, reason, now)
            self._close(session, now)
        self._forget(session)

    def unregister_application(self, name: str) -> None:
        """Remove an application and its closed sessions.

        Raises FlameError NOT_FOUND; INVALID_STATE while it has open sessions.
        """
        state = self._state
        application = state.applications.get(name)
        self._check_unused(application)
        for session in [session for session in state.closed_sessions.values() if session.application is application]:
            self._forget(session)
        state.applications.remove(name)

    def update_application(self, name: str, attributes: ApplicationAttributes) -> None:
        """Give an application other attributes, in place of all it had; its sessions from now on are made of them.

        Raises FlameError NOT_FOUND; INVALID_ARGUMENT for one out of bounds; INVALID_STATE while it has open sessions.
        """
        self._check_unused(self._state.applications.get(name))
        self._state.applications.update(name, attributes)

    def _check_unused(self, application: Application) -> None:
        sessions = self._state.open_sessions.values()
        users = [session.id for session in sessions if session.application is application]
        if users:
            more = "…" if len(users) > _NAMED_MAX else ""
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"application {application.name!r} has open sessions ({', '.join(users[:_NAMED_MAX])}{more});"
                " close them first",
            )

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
    elif max(spec.min_instances, spec.max_instances or 0) > MAX_COUNT:
        problem = (
            f"min_instances, max_instances are {spec.min_instances}, {spec.max_instances}, want {MAX_COUNT} at most"
        )
    elif not 0 <= spec.priority <= MAX_COUNT:
        problem = f"priority is {spec.priority}, want 0 to {MAX_COUNT}"
    elif not 1 <= spec.batch_size <= MAX_COUNT:
        problem = f"batch_size is {spec.batch_size}, want 1 to {MAX_COUNT}"
    elif spec.resreq is not None and not all(0 <= amount <= _AMOUNT_MAX for amount in Resources.of(spec.resreq)):
        problem = f"resreq has an amount below 0, or over {_AMOUNT_MAX}: {spec.resreq}"
    if problem is not None:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"session {session_id!r}: {problem}")
    check_options(f"session {session_id!r}", spec.timeout_s, spec.max_retries)
