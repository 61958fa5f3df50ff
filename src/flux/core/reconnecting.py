# SPDX-License-Identifier: Apache-2.0
"""How a handle that is opened so makes its lost connection anew.

The end of a connection gives the link a fresh protocol state, whose first requests restore what the
broker knew, and no stream. A thread of its own, which exists during the outage only, connects; until it
has, requests queue up behind those, senders wait for room and readers for a reader.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from flux.constants import FLUX_NODEID_ANY
from flux.errors import named_error
from flux.restoring import Restoring
from flux.util import payload_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from flux.connector import Stream
    from flux.core.answers import Answers
    from flux.core.connection import Connection
    from flux.packet import Packet
    from flux.session import Receiver

__all__ = ["TRY_FOR_S", "Reconnecting"]

TRY_FOR_S = 60.0
"""How long after the loss to go on trying, unless told otherwise."""
_FIRST_PAUSE_S = 0.1  # then doubled
_LONGEST_PAUSE_S = 2.0

_log = logging.getLogger("flux")


class NoStream:
    """While there is no connection: takes nothing, gives nothing."""

    def fileno(self) -> int:
        """None."""
        return -1

    def send(self, _data: Buffer, _flags: int = 0, /) -> int:
        """Never has room."""
        raise named_error(errno.EAGAIN)

    def recv(self, _size: int, _flags: int = 0, /) -> bytes:
        """Nothing is there."""
        raise named_error(errno.EAGAIN)

    def shutdown(self, _how: int, /) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to close."""


class Reconnecting:
    """The policy of one handle, and what its broker has to be told again.

    connect: opens another stream, or raises OSError. on_refused: called under the link's lock with the error
    when the broker does not take something back.
    """

    def __init__(self, connect: Callable[[], Stream], try_for_s: float) -> None:
        self._connect, self._try_for_s = connect, try_for_s
        self._restoring = Restoring()
        self._is_over = threading.Event()
        self.no_stream = NoStream()
        self.on_refused: Callable[[OSError], None] | None = None

    def track(self, topic: str, payload: bytes | None, receiver: Answers | None) -> Receiver | None:
        """A receiver that notes what the broker has agreed to, and passes the answer on."""
        note = {
            "event.subscribe": self._restoring.subscribed,
            "event.unsubscribe": self._restoring.unsubscribed,
            "service.add": self._restoring.registered,
            "service.remove": self._restoring.unregistered,
        }.get(topic)
        if note is None or receiver is None:
            return receiver
        receiver.holders += 1  # the answer matters to us although the future may be dropped
        return _Noting(note, payload, receiver)

    def forget(self) -> None:
        """The user connects by hand, and restores by hand."""
        self._restoring = Restoring()

    def stop(self) -> None:
        """Try no more: the handle is closed."""
        self._is_over.set()

    def begin(self, link: Connection) -> None:
        """Start to make the connection anew; under the link's lock, with a fresh protocol state."""
        for topic, payload in self._restoring.requests():
            link.session.request(topic, payload, _Restored(self, topic, payload), nodeid=FLUX_NODEID_ANY)
        threading.Thread(target=self._mend, args=(link,), name="flux reconnect", daemon=True).start()

    def _mend(self, link: Connection) -> None:
        stream = self._try(time.monotonic() + self._try_for_s)
        with contextlib.suppress(OSError):  # lost again at once, which has been noticed
            link.mended(stream)
            link.flush()  # what was queued, for nobody else may be about to

    def _try(self, until: float) -> Stream | None:
        """Connect with pauses; None when it is too late, or over."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return self._connect()
            except OSError as error:
                left = until - time.monotonic()
                if left <= 0:
                    _log.error("connection lost and not made anew within %g s: %s", self._try_for_s, error.strerror)
                    return None
            if self._is_over.wait(min(pause, left)):
                return None
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def refused(self, topic: str, payload: bytes, response: Packet) -> None:
        """The broker has not taken something back: it is forgotten, and reported."""
        name = _name(payload)
        forget = self._restoring.unregistered if topic == "service.add" else self._restoring.unsubscribed
        forget(name)
        text = payload_text(response.payload) if response.payload else os.strerror(response.aux1)
        error = OSError(response.aux1, f"{topic} {name!r} after the connection was made anew: {text}")
        _log.error("%s", error.strerror)
        if self.on_refused is not None:
            self.on_refused(error)


class _Noting:
    """Stands between the connection and a request's own receiver."""

    def __init__(self, note: Callable[[str], None], payload: bytes | None, receiver: Receiver) -> None:
        self._note, self._payload, self._receiver = note, payload, receiver

    def on_response(self, response: Packet) -> None:
        """Note it if the broker agreed."""
        if not response.aux1 and self._payload is not None:
            self._note(_name(self._payload))
        self._receiver.on_response(response)

    def on_lost(self, error: OSError) -> None:
        """Whether it was carried out does not matter: that broker is gone."""
        self._receiver.on_lost(error)


class _Restored:
    """Receives the answer to a request that restores something."""

    def __init__(self, reconnecting: Reconnecting, topic: str, payload: bytes) -> None:
        self._reconnecting, self._topic, self._payload = reconnecting, topic, payload

    def on_response(self, response: Packet) -> None:
        """Report a refusal."""
        if response.aux1:
            self._reconnecting.refused(self._topic, self._payload, response)

    def on_lost(self, _error: OSError) -> None:
        """It will be restored over the connection after that."""


def _name(payload: bytes) -> str:
    """What a request of `event` or `service` that the broker understood is about."""
    body = json.loads(payload_text(payload) or "")
    return str(body["service"] if "service" in body else body["topic"])
