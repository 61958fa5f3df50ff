# SPDX-License-Identifier: Apache-2.0
"""The futures with a callback: kept alive until they are called, and called when their results have arrived."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Protocol

from flux.constants import FLUX_POLLIN
from flux.core.descriptors import Watch
from flux.core.reactor import Reactor, Source

if TYPE_CHECKING:
    from flux.core.link import Link

__all__ = ["Callee", "FutureCalls"]

_REFERENCES = 2  # what the reactor counts for all message watchers and futures together, as upstream


class Callee(Protocol):
    """What a future is to those who call it."""

    def call_back(self) -> None:
        """Call the user's callback for one result that has arrived."""


class FutureCalls(Source):
    """Owns the reactor that calls futures. Leaves the messages in the inbox alone: a `Dispatcher` takes them too."""

    def __init__(self, link: Link) -> None:
        self.reactor = Reactor(self)
        self._link = link
        self._kept: set[Callee] = set()
        self._waiting: set[Callee] = set()
        self._due: deque[tuple[int, Callee]] = deque()
        self._socket_watch: Watch | None = None
        self._is_active = False

    def wait_for(self, future: Callee) -> None:
        """A future has a callback to be called: keep it and the reactor alive."""
        self._kept.discard(future)
        self._waiting.add(future)
        self._update()

    def keep(self, future: Callee) -> None:
        """A future may get a result from somebody else's work: keep it alive, the reactor only once it has."""
        self._waiting.discard(future)
        self._kept.add(future)
        self._update()

    def forget(self, future: Callee) -> None:
        """It has no callback any more."""
        self._waiting.discard(future)
        self._kept.discard(future)
        self._update()

    def result_arrived(self, future: Callee) -> None:
        """Call the future's callback once, after the messages that arrived before now."""
        self._due.append((self._link.inbox.arrived, future))
        self._update()

    def _is_wanted(self) -> bool:
        return bool(self._waiting or self._due)

    def _update(self) -> None:
        """Hold the reactor and listen to the socket exactly while somebody wants what arrives."""
        is_wanted = self._is_wanted()
        if is_wanted != self._is_active:
            self._is_active = is_wanted
            self.reactor.hold(_REFERENCES if is_wanted else -_REFERENCES)
        is_listening = self._socket_watch is not None
        if is_listening and (not is_wanted or self._link.lost):
            self.stop_listening()
        elif not is_listening and is_wanted and not self._link.lost:
            self._socket_watch = Watch(self._link.fileno(), FLUX_POLLIN, self._read, is_inner=True)
            self.reactor.add_watch(self._socket_watch)

    def stop_listening(self) -> None:
        """Let go of the socket, which may then be replaced; `listen` takes it up again."""
        if self._socket_watch is not None:
            self.reactor.remove_watch(self._socket_watch)
            self._socket_watch = None

    def listen(self) -> None:
        """Listen to the link's socket, if somebody wants what arrives."""
        self._update()

    def _read(self, _events: int) -> None:
        self._link.read_available()
        if self._link.lost:
            self._update()

    # What the reactor asks of its source

    def has_work(self) -> bool:
        """Whether a future's callback, or the end of the connection is to be handled."""
        return self._is_active and bool(self._due or self._link.lost)

    def dispatch(self) -> None:
        """Call the futures that are due; a lost connection stops the reactor after the last."""
        if not self._is_active:
            return
        self._call_due()
        if self._link.lost and self._is_drained():
            self.reactor.stop_error()

    def flush(self) -> None:
        """Send what is queued; a peer that is gone shows when the next read says so."""
        with contextlib.suppress(BrokenPipeError):
            self._link.flush()

    def _is_drained(self) -> bool:
        return not self._due

    def _is_due(self, _arrived: int) -> bool:
        """Whether a result's turn has come; `_arrived`: the messages that had arrived before it."""
        return True

    def _call_due(self) -> None:
        for _ in range(len(self._due)):
            if not self._due or not self._is_due(self._due[0][0]):
                break
            self.reactor.invoke(self._due.popleft()[1].call_back)
        self._update()
