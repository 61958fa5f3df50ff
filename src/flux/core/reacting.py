# SPDX-License-Identifier: Apache-2.0
"""The part of a handle that runs its reactor and keeps its watchers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from flux.core import thread
from flux.core.messaging import Messaging
from flux.core.reactor import Reactor
from flux.errors import InvalidArguments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from flux.core.link import Link
    from flux.core.watchers import Watcher

    AnyWatcher = TypeVar("AnyWatcher", bound=Watcher)

__all__ = ["ReactorMethods"]


class ReactorMethods(Messaging):
    """What concerns the thread, not the handle, is a classmethod."""

    def __init__(self, link: Link, flags: int) -> None:
        super().__init__(link, flags)
        self._watchers: set[Watcher] = set()

    def get_reactor(self) -> Reactor:
        """The handle's own reactor; during a blocking wait for a FutureExt, the one that serves this wait."""
        return self.calls.reactor

    def reactor_run(self, reactor: Reactor | None = None, flags: int = 0) -> int:
        """Run the handle's reactor, or another one; see Reactor.run for flags, result and errors.

        Raises OSError (EINVAL) for a closed handle, TypeError for what is no reactor.
        """
        if reactor is None:
            self.link.check_usable()
        return self._reactor_or_own(reactor).run(flags)

    def _reactor_or_own(self, reactor: Reactor | None) -> Reactor:
        if reactor is None:
            return self.get_reactor()
        if not isinstance(reactor, Reactor):
            raise InvalidArguments(f"reactor: want what get_reactor returns, not {type(reactor)}")
        return reactor

    def reactor_stop(self, reactor: Reactor | None = None) -> None:
        """End `reactor_run` when the callbacks that are due have been called."""
        self._reactor_or_own(reactor).stop()

    def reactor_stop_error(self, reactor: Reactor | None = None) -> None:
        """Like `reactor_stop`, and it returns -1."""
        self._reactor_or_own(reactor).stop_error()

    @classmethod
    def reactor_running(cls) -> bool:
        """Whether some reactor runs in this thread."""
        return thread.this_thread.running_reactors > 0

    @classmethod
    @contextlib.contextmanager
    def in_reactor(cls) -> Iterator[None]:
        """Count a reactor that is not ours as running in this thread, in a ``with`` block."""
        cls.reactor_enter()
        try:
            yield
        finally:
            cls.reactor_exit()

    @classmethod
    def reactor_enter(cls) -> None:
        """Count a reactor that is not ours as running in this thread."""
        thread.this_thread.running_reactors += 1

    @classmethod
    def reactor_exit(cls) -> None:
        """Undo `reactor_enter`."""
        thread.this_thread.running_reactors -= 1

    @classmethod
    def set_exception(cls, exception: BaseException | None) -> BaseException | None:
        """Store an exception for this thread's `reactor_run` to raise; returns the one it replaces."""
        return thread.store(exception)

    @classmethod
    def raise_if_exception(cls) -> None:
        """Raise this thread's stored exception, once."""
        thread.raise_stored()

    def add_watcher(self, watcher: AnyWatcher) -> AnyWatcher:
        """Keep a watcher alive; watchers do so themselves."""
        self._watchers.add(watcher)
        return watcher

    def del_watcher(self, watcher: Watcher) -> None:
        """Let go of a watcher, known or not; `destroy` does so itself."""
        self._watchers.discard(watcher)
