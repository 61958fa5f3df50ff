# SPDX-License-Identifier: Apache-2.0
"""flame.application.* and flame.session.*: one question, one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy import protocol
from flamepy.core.types import FlameError, FlameErrorCode
from hearth.broker.payloads import JsonPayload, no_payload
from hearth.engine import views

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.flame.service import FlameService

__all__ = ["Control"]


class Control:
    """Registers, makes, lists and closes."""

    def __init__(self, service: FlameService) -> None:
        self._engine = service.engine
        self._now = service.now
        serve = service.serve
        change = service.serve_change
        change("application.register", JsonPayload(protocol.RegisterApplication), self._register)
        change("application.unregister", JsonPayload(protocol.Name), self._unregister)
        serve("application.get", JsonPayload(protocol.Name), self._get_application)
        serve("application.list", no_payload, self._list_applications)
        change("session.create", JsonPayload(protocol.CreateSession), self._create)
        change("session.open", JsonPayload(protocol.CreateSession), self._open)
        serve("session.get", JsonPayload(protocol.SessionRef), self._get)
        serve("session.list", no_payload, self._list)
        change("session.close", JsonPayload(protocol.SessionRef), self._close)

    def _register(self, request: Packet, asked: protocol.RegisterApplication) -> None:
        self._engine.applications.register(asked.name, asked.attributes, self._now())

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

    def _list(self, request: Packet, nothing: None) -> protocol.SessionList:
        return protocol.SessionList([views.session_info(each) for each in self._engine.state.sessions.values()])

    def _close(self, request: Packet, asked: protocol.SessionRef) -> protocol.SessionInfo:
        return views.session_info(self._engine.sessions.close(asked.session, self._now()))
