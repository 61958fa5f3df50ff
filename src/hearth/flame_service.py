# SPDX-License-Identifier: Apache-2.0
"""The `flame` service: decodes what arrives on flame.* topics, asks the engine, carries out its actions.

No decision is made here. Requests that hold something open (result streams, watches, attached
executors) are kept by their sender, so that a lost connection ends exactly what it held.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from flamepy import protocol
from flamepy.core.types import FlameError, FlameErrorCode
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from flux.packet import Packet
from hearth import __version__
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, MsgpackPayload, Payload, encode_json, no_payload
from hearth.broker.service import LATER, Service
from hearth.engine import actions, views
from hearth.providers.base import Launch, Provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.broker.server import Broker
    from hearth.engine.engine import Engine
    from hearth.engine.model import Executor, Subscription

__all__ = ["FlameService"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_RESULT_BATCH_BYTES = 1 << 20
_LOST_GRACE_S = 1.0  # an executor that hung up is usually just about to be noticed as ended

_encode_order = msgspec.msgpack.Encoder().encode
_encode_results = msgspec.msgpack.Encoder().encode


def _sender(request: Packet) -> str:
    """The connection that a request was first sent on."""
    assert request.routes
    return request.routes[-1]


@dataclass(eq=False, slots=True)
class _Watch:
    """Somebody's open flame.task.watch."""

    request: Packet
    session: str
    task: int


class FlameService(Service):
    """Engine and provider behind the message plane."""

    def __init__(self, broker: Broker, engine: Engine, uri: str) -> None:
        super().__init__(broker.router, "flame")
        self._broker = broker
        self._engine = engine
        self._uri = uri
        self._started = time.monotonic()
        self._provider: Provider
        self._streams: dict[tuple[str, int], tuple[str, Subscription]] = {}
        """(sender, matchtag) → the session and its subscription."""
        self._watches: dict[str, list[_Watch]] = {}
        self._attached: dict[str, Packet] = {}
        """By executor: the request whose responses are its orders."""
        self._waiting_for_room: list[Subscription] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_dirty = False
        self._add_methods()
        broker.before_write(self._finish_batch)

    def use(self, provider: Provider) -> None:
        """Where executors come from; once, before the first request."""
        self._provider = provider

    def _add_methods(self) -> None:
        add = self._add
        add("status", no_payload, self._status)
        add("application.register", JsonPayload(protocol.RegisterApplication), self._register)
        add("application.unregister", JsonPayload(protocol.Name), self._unregister)
        add("application.get", JsonPayload(protocol.Name), self._get_application)
        add("application.list", no_payload, self._list_applications)
        add("session.create", JsonPayload(protocol.CreateSession), self._create_session)
        add("session.open", JsonPayload(protocol.CreateSession), self._open_session)
        add("session.get", JsonPayload(protocol.SessionRef), self._get_session)
        add("session.list", no_payload, self._list_sessions)
        add("session.close", JsonPayload(protocol.SessionRef), self._close_session)
        add("session.results", JsonPayload(protocol.SessionRef), self._results)
        add("task.submit", MsgpackPayload(protocol.SubmitBatch), self._submit)
        add("task.get", JsonPayload(protocol.TaskRef), self._get_task)
        add("task.list", JsonPayload(protocol.ListTasks), self._list_tasks)
        add("task.watch", JsonPayload(protocol.TaskRef), self._watch_task)
        add("executor.attach", JsonPayload(protocol.AttachExecutor), self._attach)
        add("executor.report", MsgpackPayload(protocol.CompletionBatch), self._report)
        add("executor.list", no_payload, self._list_executors)
        self.add_method("session.disconnect", no_payload, self._disconnect_streams)
        self.add_method("task.disconnect", no_payload, self._disconnect_watches)
        self.add_method("executor.disconnect", no_payload, self._disconnect_executors)

    def _add(self, method: str, payload: Payload[_T], handler: Callable[[Packet, _T], object]) -> None:
        """Serve a method whose refusals are FlameErrors, and let the engine step when the batch is over."""

        def handle(request: Packet, asked: _T) -> object:
            self._is_dirty = True
            try:
                return handler(request, asked)
            except FlameError as error:
                raise ServiceError(protocol.ERRNO_OF_CODE[error.code], error.message) from None

        self.add_method(method, payload, handle)

    # -- the instance

    def _status(self, request: Packet, nothing: None) -> protocol.InstanceStatus:
        state = self._engine.state
        sessions = state.open_sessions.values()
        return protocol.InstanceStatus(
            uri=self._uri,
            pid=os.getpid(),
            version=__version__,
            uptime_s=time.monotonic() - self._started,
            capacity=state.capacity.requirement(),
            free=state.free.requirement(),
            applications=len(state.applications),
            open_sessions=len(sessions),
            closed_sessions=len(state.sessions) - len(sessions),
            pending=sum(len(session.pending) for session in sessions),
            running=sum(session.running for session in sessions),
            executors=len(state.executors),
            connections=len(self.router.ports),
        )

    # -- applications

    def _register(self, request: Packet, asked: protocol.RegisterApplication) -> None:
        self._engine.applications.register(asked.name, asked.attributes, time.time())

    def _unregister(self, request: Packet, asked: protocol.Name) -> None:
        self._engine.sessions.unregister_application(asked.name)

    def _get_application(self, request: Packet, asked: protocol.Name) -> protocol.ApplicationInfo:
        return views.application_info(self._engine.applications.get(asked.name))

    def _list_applications(self, request: Packet, nothing: None) -> protocol.ApplicationList:
        return protocol.ApplicationList(list(map(views.application_info, self._engine.applications.all())))

    # -- sessions

    def _create_session(self, request: Packet, asked: protocol.CreateSession) -> protocol.SessionInfo:
        if asked.spec is None:
            raise FlameError(
                FlameErrorCode.INVALID_ARGUMENT, f"session {asked.session!r}: a spec is needed to create it"
            )
        return views.session_info(self._engine.sessions.create(asked.session, asked.spec, time.time()))

    def _open_session(self, request: Packet, asked: protocol.CreateSession) -> protocol.SessionInfo:
        return views.session_info(self._engine.sessions.open(asked.session, asked.spec, time.time()))

    def _get_session(self, request: Packet, asked: protocol.SessionRef) -> protocol.SessionInfo:
        return views.session_info(self._engine.state.session(asked.session))

    def _list_sessions(self, request: Packet, nothing: None) -> protocol.SessionList:
        return protocol.SessionList(list(map(views.session_info, self._engine.state.sessions.values())))

    def _close_session(self, request: Packet, asked: protocol.SessionRef) -> protocol.SessionInfo:
        return views.session_info(self._engine.sessions.close(asked.session, time.time()))

    # -- result streams

    def _results(self, request: Packet, asked: protocol.SessionRef) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.session.results wants a streaming request")
        subscription = self._engine.tasks.subscribe(asked.session, request)
        self._streams[_sender(request), request.aux2] = (asked.session, subscription)
        return LATER

    def _submit(self, request: Packet, batch: protocol.SubmitBatch) -> object:
        _, subscription = self._streams.get((_sender(request), batch.stream), (None, None))
        now = time.time()
        try:
            first = self._engine.tasks.submit(batch.session, batch.inputs, subscription, batch.first_number, now)
        except FlameError as error:
            if subscription is not None and request.flags & FLUX_MSGFLAG_NORESPONSE:
                self._engine.tasks.refuse(subscription, batch.first_number, len(batch.inputs), error)
                return LATER
            raise
        return protocol.Submitted(first, views.milliseconds(now))

    def _deliver(self, subscription: Subscription) -> None:
        """Send what waits, as long as the client takes it; the rest when it has room again."""
        request = subscription.key
        assert isinstance(request, Packet)
        port = self.router.port_of(request)
        while port is not None and subscription.results and not port.is_congested:
            batch = protocol.ResultBatch(_cut(subscription.results, _RESULT_BATCH_BYTES))
            self.router.respond(request, _encode_results(batch))
        if port is not None and subscription.refused:
            self.router.respond(request, _encode_results(protocol.ResultBatch([], subscription.refused)))
            subscription.refused = []
        if subscription.results and port is not None:
            self._waiting_for_room.append(subscription)
            return
        subscription.is_ready = False
        if subscription.has_ended:
            self.router.respond_error(request, errno.ENODATA)
            self._streams.pop((_sender(request), request.aux2), None)

    def _disconnect_streams(self, request: Packet, nothing: None) -> object:
        sender = _sender(request)
        for key in [key for key in self._streams if key[0] == sender]:
            self._engine.tasks.unsubscribe(*self._streams.pop(key))
        return LATER

    # -- tasks

    def _get_task(self, request: Packet, asked: protocol.TaskRef) -> protocol.TaskInfo:
        return views.task_info(*self._engine.tasks.get(asked.session, asked.task))

    def _list_tasks(self, request: Packet, asked: protocol.ListTasks) -> protocol.TaskList:
        session, tasks = self._engine.tasks.page(asked.session, asked.after, asked.limit)
        is_last = not tasks or tasks[-1].id == len(session.tasks)
        return protocol.TaskList([views.task_info(session, task) for task in tasks], is_last)

    def _watch_task(self, request: Packet, asked: protocol.TaskRef) -> object:
        watch = _Watch(request, asked.session, asked.task)
        session, task = self._engine.tasks.watch(asked.session, asked.task, watch)
        self._watches.setdefault(_sender(request), []).append(watch)
        self._tell(actions.TellWatcher(watch, session, task))
        return LATER

    def _tell(self, action: actions.TellWatcher) -> None:
        watch = action.watcher
        assert isinstance(watch, _Watch)
        self.router.respond(watch.request, encode_json(views.task_info(action.session, action.task)))
        if action.task.completed:
            self.router.respond_error(watch.request, errno.ENODATA)
            mine = self._watches.get(_sender(watch.request), [])
            if watch in mine:
                mine.remove(watch)

    def _disconnect_watches(self, request: Packet, nothing: None) -> object:
        for watch in self._watches.pop(_sender(request), ()):
            self._engine.tasks.unwatch(watch.session, watch.task, watch)
        return LATER

    # -- executors

    def _attach(self, request: Packet, asked: protocol.AttachExecutor) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.executor.attach wants a streaming request")
        self._engine.executors.attached(asked.executor, time.time())
        self._attached[asked.executor] = request
        return LATER

    def _report(self, request: Packet, report: protocol.CompletionBatch) -> object:
        """Only the connection that attached as an executor speaks for it; anyone else is too late or a liar."""
        attached = self._attached.get(report.executor)
        executor = self._engine.state.executors.get(report.executor)
        if executor is None or attached is None or _sender(attached) != _sender(request):
            raise FlameError(FlameErrorCode.INVALID_STATE, f"executor {report.executor!r} is not attached here")
        self._engine.executors.report(executor, report, time.time())
        return LATER if request.flags & FLUX_MSGFLAG_NORESPONSE else None

    def _list_executors(self, request: Packet, nothing: None) -> protocol.ExecutorList:
        executors = self._engine.state.executors.values()
        return protocol.ExecutorList([views.executor_info(e, self._provider.pid_of(e.id)) for e in executors])

    def _disconnect_executors(self, request: Packet, nothing: None) -> object:
        """Its connection is gone: make sure that its process is, too; its exit then tells the engine."""
        sender = _sender(request)
        for executor_id, attached in self._attached.items():
            if _sender(attached) == sender:
                self._provider.stop(executor_id, _LOST_GRACE_S)
        return LATER

    def on_exit(self, executor_id: str, how: str) -> None:
        """The provider says that an executor's process has ended."""
        self._attached.pop(executor_id, None)
        self._engine.executors.exited(executor_id, how, time.time())
        self._is_dirty = True
        self._broker.settle()

    # -- carrying out

    def _finish_batch(self) -> None:
        """Called by the broker when all of a batch is handled and nothing of it is written yet."""
        if self._waiting_for_room:
            waiting, self._waiting_for_room = self._waiting_for_room, []
            for subscription in waiting:
                self._deliver(subscription)
        if not self._is_dirty:
            return
        self._is_dirty = False
        for action in self._engine.step(time.time()):
            self._carry_out[type(action)](self, action)
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake up when the engine has something due."""
        due = self._engine.next_deadline
        loop = asyncio.get_running_loop()
        if due is None:
            return
        when = loop.time() + max(0.0, due - time.time())
        if self._timer is not None:
            if not self._timer.cancelled() and self._timer.when() <= when + 0.001:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._is_dirty = True
        self._broker.settle()

    def _launch(self, action: actions.LaunchExecutor) -> None:
        executor = action.executor
        application = executor.session.application
        self._provider.launch(Launch(executor.id, application.name, application.attributes, executor.session.resources))

    def _enter(self, action: actions.EnterSession) -> None:
        self._order(action.executor, protocol.ExecutorOrder(views.session_context_info(action.executor.session)))

    def _dispatch(self, action: actions.DispatchTasks) -> None:
        self._order(action.executor, protocol.ExecutorOrder(None, [(task.id, task.input) for task in action.tasks]))

    def _order(self, executor: Executor, order: protocol.ExecutorOrder) -> None:
        attached = self._attached.get(executor.id)
        if attached is not None:
            self.router.respond(attached, _encode_order(order))

    def _dismiss(self, action: actions.DismissExecutor) -> None:
        attached = self._attached.get(action.executor.id)
        if attached is not None:
            self.router.respond_error(attached, errno.ENODATA)

    def _kill(self, action: actions.KillExecutor) -> None:
        self._provider.stop(action.executor.id)

    _carry_out: ClassVar[dict[type, Callable[[FlameService, Any], None]]] = {
        actions.LaunchExecutor: _launch,
        actions.EnterSession: _enter,
        actions.DispatchTasks: _dispatch,
        actions.DismissExecutor: _dismiss,
        actions.KillExecutor: _kill,
        actions.DeliverResults: lambda self, action: self._deliver(action.subscription),
        actions.TellWatcher: _tell,
    }


def _cut(
    results: list[tuple[int, int, bytes | None, str | None]], most: int
) -> list[tuple[int, int, bytes | None, str | None]]:
    """Take from the front about as many bytes of results as one message should carry, at least one result."""
    size = count = 0
    for _, _, output, _ in results:
        if count and size > most:
            break
        size += len(output or b"") + 16
        count += 1
    taken = results[:count]
    del results[:count]
    return taken
