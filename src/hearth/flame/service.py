# SPDX-License-Identifier: Apache-2.0
"""The frame of the `flame` service: methods in, one engine step at the end of each batch, actions carried out."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar

from flamepy import protocol
from flamepy.core.types import FlameError
from hearth import __version__
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import Payload, encode_json, no_payload
from hearth.broker.service import LATER, Service
from hearth.flame.durability import Durability

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.broker.server import Broker
    from hearth.engine.actions import Action
    from hearth.engine.changes import Changes
    from hearth.engine.engine import Engine
    from hearth.store.writer import Writer

__all__ = ["FlameService"]

_T = TypeVar("_T")
_A = TypeVar("_A")


class FlameService(Service):
    """Gives the engine its clock and its steps. Parts add methods with `serve` and actions with `on_action`."""

    def __init__(self, broker: Broker, engine: Engine, uri: str, writer: Writer | None = None) -> None:
        super().__init__(broker.router, "flame")
        self.engine = engine
        self.durability = Durability(writer, engine.state, self)
        self._broker = broker
        self._uri = uri
        self._started = time.monotonic()
        self._utc_offset_s = time.time() - self._started
        self._carry_out: dict[type, Callable[[Any], None]] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._is_dirty = False
        self.serve("status", no_payload, self._status)
        broker.before_write(self._finish_batch)

    def now(self) -> float:
        """UTC seconds that never jump: the engine's deadlines must not hang on somebody setting the clock."""
        return self._utc_offset_s + time.monotonic()

    def serve(self, method: str, payload: Payload[_T], handler: Callable[[Packet, _T], object]) -> None:
        """Answer ``flame.<method>``, for the owner only. The handler may raise FlameError.

        What is answered is stored before; if it cannot be, the answer is given all the same: it changes nothing.
        """
        self._serve(method, payload, handler, lambda request, send: lambda why: send())

    def serve_change(self, method: str, payload: Payload[_T], handler: Callable[[Packet, _T], object]) -> None:
        """Answer ``flame.<method>``, which changes something: refused if that cannot be stored."""

        def handle(request: Packet, asked: _T) -> object:
            self.durability.check()
            return handler(request, asked)

        self.serve_submission(method, payload, handle)

    def serve_submission(self, method: str, payload: Payload[_T], handler: Callable[[Packet, _T], object]) -> None:
        """As `serve_change`, for a handler that calls `durability.check` itself, and refuses in a way of its own."""
        self._serve(method, payload, handler, lambda request, send: lambda why: self._refuse(request, why))

    def _serve(
        self,
        method: str,
        payload: Payload[_T],
        handler: Callable[[Packet, _T], object],
        refusal: Callable[[Packet, Callable[[], None]], Callable[[str], None]],
    ) -> None:
        def handle(request: Packet, asked: _T) -> object:
            self._is_dirty = True
            try:
                result = handler(request, asked)
            except FlameError as error:
                raise ServiceError(protocol.ERRNO_OF_CODE[error.code], error.message) from None
            if result is LATER or not self.durability.has_store:
                return result
            send = functools.partial(self.router.respond, request, None if result is None else encode_json(result))
            self.durability.answer(send, refusal(request, send))
            return LATER

        self.add_method(method, payload, handle)

    def _refuse(self, request: Packet, why: str) -> None:
        self.router.respond_error(request, errno.EIO, why)

    def on_action(self, action: type[_A], carry_out: Callable[[_A], None]) -> None:
        """Carry out the engine's actions of this type so."""
        self._carry_out[action] = carry_out

    def something_happened(self) -> None:
        """The engine was told something outside of a request: step now."""
        self._is_dirty = True
        self._broker.settle()

    def _finish_batch(self) -> None:
        """Called by the broker when all of a batch is handled and nothing of it is written yet."""
        if self._is_dirty:
            self._is_dirty = False
            self._step()
            self._set_timer()
            self.durability.finish_batch()

    def _step(self) -> None:
        for action in self.engine.step(self.now()):
            self._carry(action)

    def store_failed(self, changes: Changes, why: str) -> None:
        """Take back what is new of these, and tell those who wait for it."""
        self.engine.disown(changes, why, self.now())
        self._step()

    def _carry(self, action: Action) -> None:
        self._carry_out[type(action)](action)

    def _set_timer(self) -> None:
        """Step again when the engine has something due, even if nothing happens until then."""
        due = self.engine.next_deadline
        if due is None:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due  # ours to keep: uvloop's handles do not all know when they are due
        self._timer = loop.call_later(max(0.0, due - self.now()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.something_happened()

    def _status(self, request: Packet, nothing: None) -> protocol.InstanceStatus:
        state = self.engine.state
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
            pending=sum(session.waiting for session in sessions),
            running=sum(session.running for session in sessions),
            executors=len(state.executors),
            connections=len(self.router.ports),
        )
