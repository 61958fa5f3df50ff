# SPDX-License-Identifier: Apache-2.0
"""flame.application.* and flame.session.*: one question, one answer, which a close may owe for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy import protocol
from flamepy.core.types import FlameError, FlameErrorCode, SessionState
from hearth.broker.payloads import JsonPayload, OptionalJson, encode_json, no_payload
from hearth.broker.service import LATER
from hearth.engine import views
from hearth.engine.actions import SessionClosed

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.engine.model import Session
    from hearth.flame.service import FlameService

__all__ = ["Control"]


class Control:
    """Registers, makes, lists and closes."""

    def __init__(self, service: FlameService) -> None:
        self._engine = service.engine
        self._router = service.router
        self._durability = service.durability
        self._now = service.now
        self._to_answer: dict[Session, list[Packet]] = {}
        """By session that is closing: those who asked for it, some of whom may be gone."""
        serve = service.serve
        change = service.serve_change
        change("application.register", JsonPayload(protocol.RegisterApplication), self._register)
        change("application.update", JsonPayload(protocol.RegisterApplication), self._update)
        change("application.unregister", JsonPayload(protocol.Name), self._unregister)
        serve("application.get", JsonPayload(protocol.Name), self._get_application)
        serve("application.list", no_payload, self._list_applications)
        change("session.create", JsonPayload(protocol.CreateSession), self._create)
        change("session.open", JsonPayload(protocol.CreateSession), self._open)
        serve("session.get", JsonPayload(protocol.SessionRef), self._get)
        serve("session.list", OptionalJson(protocol.ListSessions), self._list)
        change("session.close", JsonPayload(protocol.CloseSession), self._close)
        change("session.delete", JsonPayload(protocol.SessionRef), self._delete)
        service.on_action(SessionClosed, self._answer_closes)

    def _register(self, request: Packet, asked: protocol.RegisterApplication) -> None:
        self._engine.applications.register(asked.name, asked.attributes, self._now())

    def _update(self, request: Packet, asked: protocol.RegisterApplication) -> None:
        self._engine.sessions.update_application(asked.name, asked.attributes)

    def _unregister(self, request: Packet, asked: protocol.Name) -> None:
        self._engine.sessions.unregister_application(asked.name)

    def _get_application(self, request: Packet, asked: protocol.Name) -> protocol.ApplicationInfo:
        return views.application_info(self._engine.applications.get(asked.name))

    def _list_applications(self, request: Packet, nothing: None) -> protocol.ApplicationList:
        return protocol.ApplicationList([views.application_info(each) for each in self._engine.applications.all()])

    def _create(self, request: Packet, asked: protocol.CreateSession) -> protocol.SessionInfo:
        if asked.spec is None:
            raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"session {asked.session!r}: creating it takes a spec")
        return views.session_info(self._engine.sessions.create(asked.session, asked.spec, self._now()))

    def _open(self, request: Packet, asked: protocol.CreateSession) -> protocol.SessionInfo:
        return views.session_info(self._engine.sessions.open(asked.session, asked.spec, self._now()))

    def _get(self, request: Packet, asked: protocol.SessionRef) -> protocol.SessionInfo:
        return views.session_info(self._engine.state.session(asked.session))

    def _list(self, request: Packet, asked: protocol.ListSessions) -> protocol.SessionList:
        infos = [views.session_info(each) for each in self._engine.state.sessions.values()]
        return protocol.SessionList(infos if asked.common_data else list(map(views.without_common_data, infos)))

    def _close(self, request: Packet, asked: protocol.CloseSession) -> object:
        session = self._engine.sessions.close(asked.session, self._now(), asked.mode)
        if session.state is SessionState.CLOSED:
            return views.session_info(session)
        waiting = [one for one in self._to_answer.get(session, ()) if self._router.port_of(one) is not None]
        self._to_answer[session] = [*waiting, request]
        return LATER

    def _answer_closes(self, action: SessionClosed) -> None:
        answer = encode_json(views.session_info(action.session))
        requests = self._to_answer.pop(action.session, [])

        def send() -> None:
            for request in requests:
                self._router.respond(request, answer)

        self._durability.deliver(send)

    def _delete(self, request: Packet, asked: protocol.SessionRef) -> None:
        self._engine.sessions.delete(asked.session)
