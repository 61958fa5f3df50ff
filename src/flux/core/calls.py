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
    from collections.abc import Callable

    from flux.core.link import Link

__all__ = ["Callee", "FutureCalls"]

_REFERENCES = 2  # what the reactor counts for all message watchers and futures together, as upstream


class Callee(Protocol):
    """What a future is to those who call it."""

    def call_back(self) -> None:
        """Call the user's callback for one result that has arrived."""


class FutureCalls(Source):
    """Owns the reactor that calls futures. Leaves the messages in the inbox alone: a `Dispatcher` takes them too.

    Any thread may have a future called; the callbacks run in the reactor's.
    """

    def __init__(self, link: Link) -> None:
        self.reactor = Reactor(self)
        self._link = link
        self._kept: set[Callee] = set()
        self._waiting: set[Callee] = set()
        self._due: deque[tuple[int, Callee]] = deque()
        self._stream_watch: Watch | None = None
        self._leave: Callable[[], None] | None = None  # the end of the wait that goes on

    def wait_for(self, future: Callee) -> None:
        """A future has a callback to be called: keep it and the reactor alive."""
        if self._kept:
            self._kept.discard(future)
        self._waiting.add(future)
        self.reactor.wake_elsewhere()

    def keep(self, future: Callee) -> None:
        """A future may get a result from somebody else's work: keep it alive, the reactor only once it has."""
        self._kept.add(future)
        self._waiting.discard(future)

    def forget(self, future: Callee) -> None:
        """It has no callback any more."""
        self._waiting.discard(future)
        if self._kept:
            self._kept.discard(future)

    def result_arrived(self, future: Callee) -> None:
        """Call the future's callback once, after the messages that arrived before now."""
        self._due.append((self._link.inbox.arrived, future))
        self.reactor.wake_elsewhere()

    def _is_wanted(self) -> bool:
        """Whether somebody wants what arrives."""
        return bool(self._waiting or self._due)

    def close(self) -> None:
        """Let go of the stream, and of the reactor unless it is running."""
        self.stream_changed()
        if not self.reactor.is_running:
            self.reactor.close()

    def _listen(self, *, wanted: bool) -> None:
        """Have the stream among the reactor's descriptors, or no more."""
        link, watch = self._link, self._stream_watch
        if watch is not None and not (wanted and watch.fd == link.fileno()):
            with link.lock:
                if self._stream_watch is not watch:  # another thread was faster
                    return
                self._stream_watch = None
                self.reactor.remove_watch(watch)
                link.watchers.pop(self, None)
                link.close_retired()
        if wanted and self._stream_watch is None:
            with link.lock:
                watch = Watch(link.fileno(), FLUX_POLLIN, self._read, is_inner=True)
                self.reactor.add_watch(watch)
                self._stream_watch = watch
                link.watchers[self] = None

    def stream_changed(self) -> None:
        """See StreamWatcher."""
        if self.reactor.runs_elsewhere:
            self.reactor.wake_elsewhere()  # it lets go before it waits again
        else:
            self._listen(wanted=False)

    def _read(self, _events: int) -> None:
        self._link.read_available()

    # What the reactor asks of its source

    def check_usable(self) -> None:
        """Raise OSError in a process that has not opened the connection."""
        self._link.check_process()

    def references(self) -> int:
        """How many references keep the reactor running for messages and futures."""
        return _REFERENCES if self._is_wanted() else 0

    def begin_wait(self) -> None:
        """Read during the wait that comes, unless another thread does: it wakes us."""
        link = self._link
        link.check_process()  # a callback may have forked
        if link.retired:  # closed only while we neither watch nor lead
            self._listen(wanted=False)
        is_reading = False
        if self._is_wanted():
            with link.lock:
                if link.lost is None:
                    is_reading = link.readers.enter_reactor(self.reactor.wake)
                    self._leave = link.resign if is_reading else self._rise
        self._listen(wanted=is_reading)

    def _rise(self) -> None:
        with self._link.lock:
            self._link.readers.rise(self.reactor.wake)

    def end_wait(self) -> None:
        """The wait is over: another may read."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def has_work(self) -> bool:
        """Whether a future's callback, or the end of the connection is to be handled."""
        return bool(self._due) or (self._link.session.lost is not None and self._is_wanted())

    def dispatch(self) -> None:
        """Call the futures that are due; a lost connection stops the reactor after the last."""
        if self._due:
            self._call_due()
        if self._link.session.lost is not None and self._is_wanted() and self._is_drained():
            self.reactor.stop_error()

    def flush(self) -> None:
        """Send what is queued, unless there is no connection now; a peer that is gone shows in the next read."""
        if not self._link.is_mending:
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
