# SPDX-License-Identifier: Apache-2.0
"""flame.task.submit, .cancel and flame.session.results: tasks in, results out, in batches.

A client opens one result stream per session. What it does not take waits with the engine, not in
its connection, and is sent when there is room again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flamepy import protocol
from flamepy.core.types import FlameError
from flux.constants import FLUX_MATCHTAG_NONE, FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from flux.packet import Packet
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, MsgpackPayload, no_payload
from hearth.broker.service import LATER
from hearth.broker.streams import sender_of
from hearth.engine import views
from hearth.engine.actions import DeliverResults

if TYPE_CHECKING:
    from hearth.engine.model import Result, Subscription
    from hearth.flame.service import FlameService

__all__ = ["Results"]

_BATCH_BYTES = 1 << 20
_RESULT_BYTES = 16  # what a result weighs besides its output

_encode = msgspec.msgpack.Encoder().encode


class Results:
    """The open result streams."""

    def __init__(self, service: FlameService) -> None:
        self._tasks = service.engine.tasks
        self._cancellation = service.engine.cancellation
        self._router = service.router
        self._service = service
        self._streams: dict[tuple[str, int], tuple[str, Subscription]] = {}
        """(sender, matchtag) → the session and its subscription."""
        service.serve("session.results", JsonPayload(protocol.SessionRef), self._open)
        service.serve("task.submit", MsgpackPayload(protocol.SubmitBatch), self._submit)
        service.serve("task.cancel", JsonPayload(protocol.CancelTasks), self._cancel)
        service.add_method("session.disconnect", no_payload, self._disconnect)
        service.on_action(DeliverResults, lambda action: self._deliver(action.subscription))

    def _open(self, request: Packet, asked: protocol.SessionRef) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.session.results wants a streaming request")
        subscription = self._tasks.subscribe(asked.session, request)
        self._streams[sender_of(request), request.aux2] = (asked.session, subscription)
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
            first = self._tasks.submit(batch.session, batch.inputs, subscription, batch.first_number, now, options)
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
        _, subscription = self._streams.get((sender_of(request), stream), (None, None))
        if subscription is None and stream != FLUX_MATCHTAG_NONE:
            raise ServiceError(errno.ENOENT, f"there is no result stream {stream}, or it has ended")
        return subscription

    def _deliver(self, subscription: Subscription) -> None:
        """Send what waits, as long as the client takes it; the rest when it has room again."""
        request = subscription.key
        assert isinstance(request, Packet)
        port = self._router.port_of(request)
        if port is None:
            return
        while subscription.results:
            if port.is_congested:
                port.when_drained(lambda: self._deliver(subscription))
                return
            self._respond(request, protocol.ResultBatch(_cut(subscription.results)))
        if subscription.refused:
            refused, subscription.refused = subscription.refused, []
            self._respond(request, protocol.ResultBatch([], refused))
        subscription.is_ready = False
        if subscription.has_ended:
            self._router.respond_error(request, errno.ENODATA)
            self._streams.pop((sender_of(request), request.aux2), None)

    def _respond(self, request: Packet, batch: protocol.ResultBatch) -> None:
        self._router.respond(request, _encode(batch))

    def _disconnect(self, request: Packet, nothing: None) -> object:
        """A client is gone: its tasks go on, nobody hears of them."""
        sender = sender_of(request)
        for key in [key for key in self._streams if key[0] == sender]:
            self._tasks.unsubscribe(*self._streams.pop(key))
        return LATER


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
