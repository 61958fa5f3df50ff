# SPDX-License-Identifier: Apache-2.0
"""flame.task.submit, .cancel and flame.session.results: tasks in, results out, in batches.

A client opens one result stream per session. What it does not take waits with the engine, not in
its connection, and is sent when there is room again.
"""

from __future__ import annotations

import errno
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from flamepy import protocol
from flamepy.core.types import FlameError
from flux.constants import FLUX_MATCHTAG_NONE, FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, MsgpackPayload, no_payload
from hearth.broker.service import LATER
from hearth.broker.streams import sender_of
from hearth.engine import views
from hearth.engine.actions import DeliverResults, RecallResults

if TYPE_CHECKING:
    from flux.packet import Packet
    from hearth.engine.model import Delivery, Result, Subscription
    from hearth.flame.service import FlameService
    from hearth.store.writer import Data

__all__ = ["Results"]

_BATCH_BYTES = 1 << 20
_RESULT_BYTES = 16  # what a result weighs besides its output
_RECALLED_AT_ONCE = 1000  # 10 ms of the thread that also writes

_encode = msgspec.msgpack.Encoder().encode


@dataclass(eq=False, slots=True)
class _Stream:
    """Somebody's open flame.session.results, and what it still has to be sent."""

    request: Packet
    session: str
    subscription: Subscription
    results: list[Result] = field(default_factory=list)
    refused: list[tuple[int, int, int, str]] = field(default_factory=list)
    unknown: list[tuple[int, int]] | None = None
    has_ended: bool = False
    is_held_up: bool = False
    """Whether its connection takes nothing for now."""


class Results:
    """The open result streams. What a client does not take waits in its outbox, not in its connection."""

    def __init__(self, service: FlameService) -> None:
        self._tasks = service.engine.tasks
        self._cancellation = service.engine.cancellation
        self._router = service.router
        self._service = service
        self._streams: dict[tuple[str, int], _Stream] = {}
        """By sender and matchtag."""
        service.serve("session.results", JsonPayload(protocol.OpenResults), self._open)
        service.serve_submission("task.submit", MsgpackPayload(protocol.SubmitBatch), self._submit)
        service.serve_change("task.cancel", JsonPayload(protocol.CancelTasks), self._cancel)
        service.add_method("session.disconnect", no_payload, self._disconnect)
        service.on_action(DeliverResults, lambda action: self._deliver(action.subscription))
        service.on_action(RecallResults, self._recall)

    def _open(self, request: Packet, asked: protocol.OpenResults) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.session.results wants a streaming request")
        key = sender_of(request), request.aux2
        subscription = self._tasks.subscribe(asked.session, key, asked.client, asked.unanswered)
        self._streams[key] = _Stream(request, asked.session, subscription)
        return LATER

    def _submit(self, request: Packet, batch: protocol.SubmitBatch) -> object:
        """Take tasks; a refusal goes where the results would have gone, unless an answer is wanted.

        Tasks for a stream that has ended are not taken: its client reads of the end before it waits.
        """
        subscription = self._subscription(request, batch.stream)
        now = self._service.now()
        options = None
        if batch.timeout_s is not None or batch.max_retries is not None:
            options = protocol.TaskOptions(batch.timeout_s, batch.max_retries)
        try:
            self._service.durability.check()
            first = self._tasks.submit(
                batch.session, batch.inputs, subscription, batch.first_number, now, options, batch.client
            )
        except FlameError as error:
            if subscription is None or not request.flags & FLUX_MSGFLAG_NORESPONSE:
                raise
            self._tasks.refuse(subscription, batch.first_number, len(batch.inputs), error)
            return LATER
        return protocol.Submitted(first, views.milliseconds(now))

    def _cancel(self, request: Packet, asked: protocol.CancelTasks) -> protocol.CancelledTasks:
        """Cancel what is named either way; numbers are those of the sender's own stream, and of nobody else's."""
        subscription = self._subscription(request, asked.stream)
        now = self._service.now()
        cancelled = self._cancellation.cancel(asked.session, asked.tasks, now)
        if subscription is not None:
            cancelled += self._cancellation.cancel_numbers(asked.session, subscription, asked.numbers, now)
        return protocol.CancelledTasks(cancelled)

    def _subscription(self, request: Packet, stream: int) -> Subscription | None:
        """The sender's own stream of that matchtag, None for 0. Raises ServiceError ENOENT if there is none."""
        found = self._streams.get((sender_of(request), stream))
        if found is None and stream != FLUX_MATCHTAG_NONE:
            raise ServiceError(errno.ENOENT, f"there is no result stream {stream}, or it has ended")
        return None if found is None else found.subscription

    def _deliver(self, subscription: Subscription) -> None:
        """Take what waits, and send it when it is stored; what became no task is told also when nothing can be."""
        stream = self._streams.get(subscription.key)  # type: ignore[call-overload]  # keys are ours, made in _open
        if stream is not None:
            delivery = subscription.take()
            results, refusals = _split(delivery)
            if refusals.refused or refusals.unknown is not None:
                tell = functools.partial(self._send, stream, refusals)
                self._service.durability.answer(tell, lambda why: tell())
            self._service.durability.deliver(lambda: self._send(stream, results))

    def _send(self, stream: _Stream, delivery: Delivery) -> None:
        stream.results += delivery.results
        stream.refused += delivery.refused
        stream.unknown = delivery.unknown if stream.unknown is None else stream.unknown
        stream.has_ended |= delivery.is_end
        if not stream.is_held_up:
            self._flush(stream)

    def _flush(self, stream: _Stream) -> None:
        """Send what waits, as long as the client takes it; the rest when it has room again."""
        port = self._router.port_of(stream.request)
        stream.is_held_up = False
        if port is None:
            return
        if stream.unknown is not None:
            unknown, stream.unknown = stream.unknown, None
            self._respond(stream.request, protocol.ResultBatch([], unknown=unknown))
        while stream.results:
            if port.is_congested:
                stream.is_held_up = True
                port.when_drained(lambda: self._flush(stream))
                return
            self._respond(stream.request, protocol.ResultBatch(_cut(stream.results)))
        if stream.refused:
            refused, stream.refused = stream.refused, []
            self._respond(stream.request, protocol.ResultBatch([], refused))
        if stream.has_ended:
            self._router.respond_error(stream.request, errno.ENODATA)
            self._streams.pop((sender_of(stream.request), stream.request.aux2), None)

    def _respond(self, request: Packet, batch: protocol.ResultBatch) -> None:
        self._router.respond(request, _encode(batch))

    def _recall(self, action: RecallResults) -> None:
        """What a client has missed, and only the store still has: piece by piece, for others write meanwhile."""
        tasks, rest = action.tasks[:_RECALLED_AT_ONCE], action.tasks[_RECALLED_AT_ONCE:]

        def done(data: Data | None, error: OSError | None) -> None:
            if data is None:
                text = "unknown" if error is None else error.strerror or str(error)
                self._tasks.lost(action.subscription, action.tasks, text)
            else:
                outputs = [(task.number, int(task.state), data[task.id][1], task.message) for task in tasks]
                self._tasks.recalled(action.subscription, outputs)
                if rest and action.subscription.is_live:
                    self._recall(RecallResults(action.subscription, action.session, rest))
            self._service.something_happened()

        self._service.durability.read(action.session.key, [task.id for task in tasks], done)

    def _disconnect(self, request: Packet, nothing: None) -> object:
        """A client is gone: its tasks go on, nobody hears of them."""
        sender = sender_of(request)
        for key in [key for key in self._streams if key[0] == sender]:
            stream = self._streams.pop(key)
            self._tasks.unsubscribe(stream.session, stream.subscription)
        return LATER


def _split(delivery: Delivery) -> tuple[Delivery, Delivery]:
    """What waits until it is stored, and what may be told also when nothing can be: what has become no task."""
    return delivery._replace(refused=[], unknown=None), delivery._replace(results=[], is_end=False)


def _cut(results: list[Result]) -> list[Result]:
    """Take from the front about as many bytes of results as one message should carry, at least one result."""
    size = count = 0
    for _, _, output, message in results:
        if size > _BATCH_BYTES:
            break
        size += len(output or b"") + len(message or "") + _RESULT_BYTES
        count += 1
    taken = results[:count]
    del results[:count]
    return taken
