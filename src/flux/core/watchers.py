# SPDX-License-Identifier: Apache-2.0
"""Watchers: what a handle's reactor waits for, and the callback for it.

All are created stopped. The handle keeps each one alive until it is destroyed, so it need not be
kept elsewhere. `start`, `stop` and `destroy` may be called again without effect; after `destroy`
the others do nothing. In a ``with`` block a watcher is active. Create, start and stop one in the thread
that runs the reactor, or before it runs.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from flux.core import signals
from flux.core.descriptors import Watch
from flux.errors import named_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from flux.core.handle import Flux
    from flux.core.reactor import Hook
    from flux.core.timers import Timer

__all__ = [
    "CheckWatcher",
    "FDWatcher",
    "IdleWatcher",
    "PrepareWatcher",
    "ReactorWatcher",
    "SignalWatcher",
    "TimerWatcher",
    "Watcher",
    "seconds",
]

_SIGNAL_MAX = 64


class Watcher(ABC):
    """What all watchers have in common. Attributes: flux_handle, callback, args."""

    def __init__(self, flux_handle: Flux, callback: Callable[..., object] | None, args: Any) -> None:
        self.flux_handle, self.callback, self.args = flux_handle, callback, args
        self._is_active = False
        self._is_destroyed = False
        flux_handle.add_watcher(self)

    @property
    def is_active(self) -> bool:
        """Whether it is started."""
        return self._is_active

    def destroy(self) -> None:
        """Stop for good; the handle lets go of the watcher."""
        self.stop()
        self._is_destroyed = True
        self.flux_handle.del_watcher(self)

    @abstractmethod
    def start(self) -> object:
        """Begin to watch."""

    @abstractmethod
    def stop(self) -> object:
        """Watch no more; a callback that was already due is not called."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _call(self, *arguments: object) -> None:
        if self.callback is not None:
            self.callback(self.flux_handle, self, *arguments, self.args)


class ReactorWatcher(Watcher):
    """A watcher that holds one reference to the reactor while it is active, unless `unref`."""

    def __init__(self, flux_handle: Flux, callback: Callable[..., object] | None, args: Any) -> None:
        super().__init__(flux_handle, callback, args)
        self._reactor = flux_handle.get_reactor()
        self._is_referenced = True

    def start(self) -> Self:
        """Begin to watch."""
        if not self._is_active and not self._is_destroyed:
            self._arm()
            self._is_active = True
            self._reactor.hold(self._is_referenced)
        return self

    def stop(self) -> Self:
        """Watch no more; a callback that was already due is not called."""
        if self._is_active:
            self._disarm()
            self._is_active = False
            self._reactor.release(self._is_referenced)
        return self

    def ref(self) -> Self:
        """Undo `unref`."""
        return self._set_referenced(True)

    def unref(self) -> Self:
        """Let the reactor end although this watcher is active."""
        return self._set_referenced(False)

    def _set_referenced(self, is_referenced: bool) -> Self:
        if self._is_active:
            self._reactor.hold(is_referenced - self._is_referenced)
        self._is_referenced = is_referenced
        return self

    @abstractmethod
    def _arm(self) -> None:
        """Tell the reactor."""

    @abstractmethod
    def _disarm(self) -> None:
        """Untell the reactor."""


class TimerWatcher(ReactorWatcher):
    """Calls cb(handle, watcher, revents, args) `after` seconds from start, then every `repeat` seconds.

    Without repeat the watcher stops before the callback is called, which may start it again. Runs
    that were missed are not made up for. Raises OSError (EINVAL) for negative times, ValueError for text that
    is no number.
    """

    def __init__(
        self,
        flux_handle: Flux,
        after: float | str,
        callback: Callable[..., object],
        repeat: float | str = 0.0,
        args: Any = None,
    ) -> None:
        self.after, self.repeat = seconds(after), seconds(repeat)
        super().__init__(flux_handle, callback, args)
        self._first, self._period = self.after, self.repeat
        self._timer: Timer | None = None

    def reset(self, after: float | None = None, repeat: float | None = None) -> Self:
        """Start over from now, with these times or those the watcher was created with."""
        first = self.after if after is None else seconds(after)
        period = self.repeat if repeat is None else seconds(repeat)
        self.stop()
        self._first, self._period = first, period
        return self.start()

    def _arm(self) -> None:
        self._timer = self._reactor.call_at(self._reactor.now() + self._first, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        if self._period:
            assert self._timer is not None
            due = max(self._timer.due + self._period, self._reactor.now())
            self._timer = self._reactor.call_at(due, self._fire)
        else:
            self.stop()
        self._call(0)


def seconds(value: float | str) -> float:
    """A time span given as a number or its text. Raises OSError (EINVAL) for one below 0."""
    span = float(value)
    if not span >= 0:
        raise named_error(errno.EINVAL)
    return span


class FDWatcher(ReactorWatcher):
    """Calls cb(handle, watcher, fd, revents, args) while the descriptor is ready for one of `events`.

    events: FLUX_POLLIN, FLUX_POLLOUT; errors and hang-ups show as readiness for what was asked.
    `start` raises OSError: EBADF when the descriptor is not open, EINVAL without one of the two events.
    """

    def __init__(
        self, flux_handle: Flux, fd_int: int, events: int, callback: Callable[..., object], args: Any = None
    ) -> None:
        super().__init__(flux_handle, callback, args)
        self.fd_int, self.events = fd_int, events
        self._watch = Watch(fd_int, events, self._fire)

    def _arm(self) -> None:
        self._reactor.add_watch(self._watch)

    def _disarm(self) -> None:
        self._reactor.remove_watch(self._watch)

    def _fire(self, revents: int) -> None:
        self._call(self.fd_int, revents)


class SignalWatcher(ReactorWatcher):
    """Calls cb(handle, watcher, signum, args) after the signal. `start` works in the main thread only.

    The handler in place before comes back when the last watcher of the signal stops. Raises OSError
    (EINVAL) for a signal that is none or, at `start`, cannot be caught, and in another thread.
    """

    def __init__(self, flux_handle: Flux, signal_int: int, callback: Callable[..., object], args: Any = None) -> None:
        if not 1 <= signal_int <= _SIGNAL_MAX:
            raise OSError(errno.EINVAL, "invalid signal number")
        super().__init__(flux_handle, callback, args)
        self.signal_int = signal_int

    def _arm(self) -> None:
        signals.watch(self.signal_int, self._arrived)

    def _disarm(self) -> None:
        signals.unwatch(self.signal_int, self._arrived)

    def _arrived(self) -> None:
        self._reactor.post(self._fire)

    def _fire(self) -> None:
        if self._is_active:
            self._call(self.signal_int)


class _HookWatcher(ReactorWatcher):
    """Calls cb(handle, watcher, revents, args) in a certain phase of each turn."""

    def __init__(self, flux_handle: Flux, callback: Callable[..., object] | None, args: Any = None) -> None:
        super().__init__(flux_handle, callback, args)

    @abstractmethod
    def _hook(self) -> Hook:
        """The callbacks of the phase."""

    def _arm(self) -> None:
        self._hook()[self._fire] = None

    def _disarm(self) -> None:
        self._hook().pop(self._fire, None)

    def _fire(self) -> None:
        self._call(0)


class PrepareWatcher(_HookWatcher):
    """Calls cb(handle, watcher, revents, args) before the reactor waits."""

    def _hook(self) -> Hook:
        return self._reactor.prepare


class CheckWatcher(_HookWatcher):
    """Calls cb(handle, watcher, revents, args) after the reactor has waited."""

    def _hook(self) -> Hook:
        return self._reactor.check


class IdleWatcher(_HookWatcher):
    """Calls cb(handle, watcher, revents, args) in each turn without timer and descriptor events.

    While it is active the reactor does not wait, also if the callback is None.
    """

    def _hook(self) -> Hook:
        return self._reactor.idle
