# SPDX-License-Identifier: Apache-2.0
"""flame.executor.*: processes that call in, take orders and report; and the provider that starts and ends them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flamepy import protocol
from flamepy.core.types import FlameError, FlameErrorCode
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, MsgpackPayload, no_payload
from hearth.broker.service import LATER
from hearth.broker.streams import sender_of
from hearth.engine import views
from hearth.engine.actions import DismissExecutor, DispatchTasks, EnterSession, KillExecutor, LaunchExecutor
from hearth.providers.base import Launch, Provider

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.engine.model import Executor
    from hearth.flame.service import FlameService

__all__ = ["Executors"]

_LOST_GRACE_S = 1.0  # an executor that hung up is usually just about to be noticed as ended

_encode = msgspec.msgpack.Encoder().encode


class Executors:
    """The attached processes. An executor is fenced by its connection: nobody else speaks for it."""

    def __init__(self, service: FlameService, provider: Provider) -> None:
        self._service = service
        self._engine = service.engine
        self._router = service.router
        self._provider = provider
        self._attached: dict[str, Packet] = {}
        """By executor: the request whose responses are its orders."""
        provider.on_start = self._started
        provider.on_exit = self._exited
        service.serve("executor.attach", JsonPayload(protocol.AttachExecutor), self._attach)
        service.serve("executor.report", MsgpackPayload(protocol.CompletionBatch), self._report)
        service.serve("executor.list", no_payload, self._list)
        service.add_method("executor.disconnect", no_payload, self._disconnect)
        service.on_action(LaunchExecutor, self._launch)
        service.on_action(EnterSession, self._enter)
        service.on_action(DispatchTasks, self._dispatch)
        service.on_action(DismissExecutor, self._dismiss)
        service.on_action(KillExecutor, lambda action: provider.stop(action.executor.id))

    # -- what processes say

    def _attach(self, request: Packet, asked: protocol.AttachExecutor) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.executor.attach wants a streaming request")
        if asked.session:
            self._adopt(request, asked)
        else:
            self._engine.executors.attached(asked.executor, self._service.now())
        self._attached[asked.executor] = request
        return LATER

    def _adopt(self, request: Packet, asked: protocol.AttachExecutor) -> None:
        """A process that an earlier daemon has started is ours from now on."""
        port = self._router.port_of(request)
        self._engine.executors.adopt(asked.executor, asked.session, asked.holding, self._service.now())
        if port is None or port.pid is None or not self._provider.adopt(asked.executor, asked.session, port.pid):
            self._engine.executors.exited(asked.executor, "ended", self._service.now())
            raise FlameError(FlameErrorCode.INVALID_STATE, f"executor {asked.executor!r} has ended")

    def _report(self, request: Packet, report: protocol.CompletionBatch) -> object:
        attached = self._attached.get(report.executor)
        executor = self._engine.state.executors.get(report.executor)
        if executor is None or attached is None or sender_of(attached) != sender_of(request):
            raise FlameError(FlameErrorCode.INVALID_STATE, f"executor {report.executor!r} is not attached here")
        self._engine.executors.report(executor, report, self._service.now())
        return LATER if request.flags & FLUX_MSGFLAG_NORESPONSE else None

    def _disconnect(self, request: Packet, nothing: None) -> object:
        """Its connection is gone: make sure that its process is, too; its exit then tells the engine."""
        sender = sender_of(request)
        for executor_id, attached in self._attached.items():
            if sender_of(attached) == sender:
                self._provider.stop(executor_id, _LOST_GRACE_S)
        return LATER

    def _started(self, executor_id: str) -> None:
        self._engine.executors.started(executor_id, self._service.now())
        self._service.something_happened()

    def _exited(self, executor_id: str, how: str, return_code: int | None = None) -> None:
        self._attached.pop(executor_id, None)
        self._engine.executors.exited(executor_id, how, self._service.now(), return_code)
        self._service.something_happened()

    def _list(self, request: Packet, nothing: None) -> protocol.ExecutorList:
        state = self._engine.state
        return protocol.ExecutorList(
            [views.executor_info(each, state.host, self._provider.pid_of(each.id)) for each in state.executors.values()]
        )

    # -- what processes are told

    def _launch(self, action: LaunchExecutor) -> None:
        session = action.executor.session
        application = session.application
        self._provider.launch(
            Launch(action.executor.id, session.id, application.name, application.attributes, session.resources)
        )

    def _enter(self, action: EnterSession) -> None:
        self._order(action.executor, protocol.ExecutorOrder(views.session_context_info(action.executor.session)))

    def _dispatch(self, action: DispatchTasks) -> None:
        self._order(action.executor, protocol.ExecutorOrder(None, [(task.id, task.input) for task in action.tasks]))

    def _order(self, executor: Executor, order: protocol.ExecutorOrder) -> None:
        attached = self._attached.get(executor.id)
        if attached is not None:
            self._router.respond(attached, _encode(order))

    def _dismiss(self, action: DismissExecutor) -> None:
        attached = self._attached.get(action.executor.id)
        if attached is not None:
            self._router.respond_error(attached, errno.ENODATA)
