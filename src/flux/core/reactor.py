# SPDX-License-Identifier: Apache-2.0
"""The event loop of one handle.

One turn, in this order: prepare callbacks; wait; one message and the futures that are due; check
callbacks; timers; signals and descriptors; idle callbacks if there was nothing of that last line.
One message a turn, so that no other watcher starves; more of them while nobody else waits for a turn.

The loop ends when nothing referenced is left: each active watcher holds one reference unless
`unref`, all message watchers and pending futures of the handle hold two together.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import time
from collections import deque
from threading import Lock, get_ident
from typing import TYPE_CHECKING

from flux.constants import FLUX_POLLIN, FLUX_REACTOR_NOWAIT, FLUX_REACTOR_ONCE
from flux.core import signals
from flux.core.descriptors import Descriptors, Watch
from flux.core.thread import raise_stored, store, this_thread
from flux.core.timers import Timer, TimerQueue
from flux.core.wakeup import Wakeup
from flux.errors import named_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hook", "Reactor", "Source"]

_HURRY_MAX = 256  # messages after one turn: then the socket is looked at, and what was queued leaves
_HURRY_S = 0.001  # and no longer than this after the wait, since answers are held back meanwhile

Hook = dict["Callable[[], object]", None]
"""Callbacks of one phase of a turn, in the order they were added."""


class Source:
    """Where the messages come from; this one has none."""

    def check_usable(self) -> None:
        """Raise OSError when there can be no messages in this process."""

    def references(self) -> int:
        """How many references it holds."""
        return 0

    def begin_wait(self) -> None:
        """The reactor will wait, unless `has_work` now says that it need not."""

    def end_wait(self) -> None:
        """It has waited, or thought better of it."""

    def has_work(self) -> bool:
        """Whether `dispatch` would do something."""
        return False

    def dispatch(self) -> None:
        """Handle one message, and run the future callbacks that are due."""

    def flush(self) -> None:
        """Send what the last turn queued."""


class Reactor:
    """Runs the callbacks of its watchers in the thread that calls `run`.

    Other threads may call `post`, `stop`, `stop_error` and `call_at`.
    """

    def __init__(self, source: Source | None = None) -> None:
        self._source = source or Source()
        self._timers = TimerQueue()
        self._descriptors = Descriptors()
        self._posted: deque[Callable[[], object]] = deque()
        self.prepare: Hook = {}
        self.check: Hook = {}
        self.idle: Hook = {}
        self._references = 0
        self._depth = 0
        self._thread = 0  # that runs it
        self._running = Lock()
        self._now = 0.0
        self._wakeup: Wakeup | None = None
        self._is_stopping = self._has_failed = False

    # What watchers use

    def now(self) -> float:
        """Seconds on the monotonic clock; in the thread that runs it, of the moment when this turn's wait ended."""
        return self._now if self.runs_here else time.monotonic()

    def call_at(self, due: float, callback: Callable[[], object]) -> Timer:
        """Have callback called once, at `due` on the clock of `now`. Holds no reference."""
        timer = self._timers.add(due, callback)
        self.wake_elsewhere()
        return timer

    def add_watch(self, watch: Watch) -> None:
        """Have its on_ready called in each turn in which the descriptor is ready. Raises as Descriptors.add does.

        An inner watch is called as soon as the wait ends, and does not count as a callback.
        """
        self._descriptors.add(watch)

    def remove_watch(self, watch: Watch) -> None:
        """No more of that."""
        self._descriptors.remove(watch)

    def post(self, callback: Callable[[], object]) -> None:
        """Have callback called in the next turn. From any thread or signal handler."""
        self._posted.append(callback)
        self.wake()

    def wake(self) -> None:
        """End the wait that goes on, or else the next one. From any thread or signal handler."""
        if self._wakeup is not None:
            self._wakeup.wake()

    @property
    def runs_here(self) -> bool:
        """Whether it is this thread that runs it."""
        return self._thread == get_ident()

    @property
    def runs_elsewhere(self) -> bool:
        """Whether another thread runs it."""
        return self._thread not in (0, get_ident())

    def wake_elsewhere(self) -> None:
        """Have another thread that runs it look again; this one will anyway."""
        if self._thread and self._thread != get_ident():
            self.wake()

    def hold(self, references: int = 1) -> None:
        """Keep `run` going."""
        self._references += references

    def release(self, references: int = 1) -> None:
        """Undo one `hold`."""
        self._references -= references

    def invoke(self, callback: Callable[..., object], *args: object) -> None:
        """Call a user's callback; an Exception is stored for `run` to raise and stops the reactor."""
        try:
            callback(*args)
        except Exception as error:
            store(error)
            self.stop_error()

    # Running

    @property
    def is_running(self) -> bool:
        """Whether some `run` has not returned."""
        return self._depth > 0

    def stop(self) -> None:
        """End all running `run`s when the callbacks that are due have been called."""
        self._is_stopping, self._has_failed = True, False
        self.wake_elsewhere()

    def stop_error(self) -> None:
        """Like `stop`, and they return -1."""
        self._is_stopping = self._has_failed = True
        self.wake_elsewhere()

    def run(self, flags: int = 0) -> int:
        """Turn until stopped or until no reference is left.

        flags: FLUX_REACTOR_NOWAIT for one turn that does not wait, FLUX_REACTOR_ONCE for one turn.
        Returns -1 when stopped by an error, 0 when all is done, else how many references are left,
        in the main thread one less (test the sign only). Raises KeyboardInterrupt after a SIGINT in
        the main thread, else the exception stored for this thread, else OSError: EINVAL for other flags
        or after a fork, EBUSY while another thread runs it.
        """
        if flags & ~(FLUX_REACTOR_NOWAIT | FLUX_REACTOR_ONCE):
            raise named_error(errno.EINVAL)
        self._enter()
        try:
            while self._references + self._source.references() and not self._is_stopping:
                self._turn(may_wait=not flags & FLUX_REACTOR_NOWAIT)
                if flags:
                    break
                self._hurry()
            self._source.flush()
            interrupted, result = this_thread.is_interrupted, self._result()
        except BaseException:
            with contextlib.suppress(OSError):
                self._source.flush()
            raise
        finally:
            self._leave()
        if interrupted:
            raise KeyboardInterrupt
        raise_stored()
        return result

    def _result(self) -> int:
        if self._is_stopping and self._has_failed:
            return -1
        return max(0, self._references + self._source.references() - signals.in_main_thread())

    def _enter(self) -> None:
        self._source.check_usable()
        if not self.runs_here:
            if not self._running.acquire(blocking=False):
                raise OSError(errno.EBUSY, "the reactor is run by another thread, to which it belongs until that ends")
            try:
                self._begin()
            except BaseException:
                self._running.release()
                raise
        self._depth += 1
        this_thread.running_reactors += 1

    def _begin(self) -> None:
        if self._wakeup is None:
            self._wakeup = Wakeup()
            self.add_watch(Watch(self._wakeup.fileno(), FLUX_POLLIN, self._wakeup.drain, is_inner=True))
        self._is_stopping = self._has_failed = False
        self._now = time.monotonic()
        if signals.in_main_thread():
            signals.watch(signal.SIGINT, self._interrupt)
            self._wakeup.listen_to_signals()
        self._thread = get_ident()

    def _leave(self) -> None:
        self._depth -= 1
        this_thread.running_reactors -= 1
        if not this_thread.running_reactors:
            this_thread.is_interrupted = False
        if not self._depth:
            self._end()

    def _end(self) -> None:
        self._thread = 0
        if signals.in_main_thread():
            assert self._wakeup is not None
            self._wakeup.ignore_signals()
            signals.unwatch(signal.SIGINT, self._interrupt)
        self._running.release()

    def _interrupt(self) -> None:
        this_thread.is_interrupted = True
        self.stop()

    def _turn(self, *, may_wait: bool) -> None:
        self._call_all(self.prepare)
        if self._is_stopping:
            return
        ready = self._wait(may_wait=may_wait)
        self._source.dispatch()
        self._call_all(self.check)
        was_busy = self._call_timers()
        was_busy |= self._call_posted()
        for watch, events in ready:
            if self._descriptors.holds(watch):  # an earlier callback may have stopped it
                self.invoke(watch.on_ready, events)
        if not ready and not was_busy:
            self._call_all(self.idle)

    def _hurry(self) -> None:
        """Go on with the messages as long as a whole turn would do nothing else."""
        until = self._now + _HURRY_S
        for _ in range(_HURRY_MAX):
            if self._is_stopping or self._is_awaited(until) or not self._source.has_work():
                break
            self._source.dispatch()

    def _is_awaited(self, until: float) -> bool:
        """Whether it is too late, or a watcher other than of messages would have a turn now."""
        if self.prepare or self.check or self.idle or self._posted or self._descriptors.has_outer:
            return True
        now = time.monotonic()
        due = self._timers.next_due()
        return now > until or (due is not None and due <= now)

    def _wait(self, *, may_wait: bool) -> list[tuple[Watch, int]]:
        self._source.flush()
        try:
            self._source.begin_wait()
            found = self._descriptors.poll(self._longest_wait() if may_wait else 0)
            self._now = time.monotonic()
            ready = []
            for watch, events in found:
                if watch.is_inner:
                    watch.on_ready(events)
                else:
                    ready.append((watch, events))
        finally:
            self._source.end_wait()
        return ready

    def _longest_wait(self) -> float | None:
        """How long nothing but a descriptor can need us, in seconds; None without limit."""
        if self.idle or self._posted or self._is_stopping or self._source.has_work():
            return 0
        if not self._references and not self._source.references():
            return 0
        due = self._timers.next_due()
        return None if due is None else max(0.0, due - time.monotonic())

    def _call_all(self, hook: Hook) -> None:
        for callback in reversed(tuple(hook)):
            if callback in hook:
                self.invoke(callback)

    def _call_timers(self) -> bool:
        mark = self._timers.mark
        was_busy = False
        while (callback := self._timers.pop_due(self._now, mark)) is not None:
            was_busy = True
            self.invoke(callback)
        return was_busy

    def _call_posted(self) -> bool:
        waiting = len(self._posted)
        for _ in range(waiting):
            self.invoke(self._posted.popleft())
        return waiting > 0

    def close(self) -> None:
        """Give the descriptors back; the reactor cannot be used any more."""
        self._descriptors.close()
        if self._wakeup is not None:
            self._wakeup.close()
