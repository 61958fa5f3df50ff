# SPDX-License-Identifier: Apache-2.0
"""Which of the threads that wait for one connection reads it: the leader. The others follow.

The leader waits in the system call, takes what arrives and hands it to whom it belongs, so a thread
alone waits as it would without any of this. Invariants:

1. At most one thread leads, and only the leader reads: bytes are decoded in the order they came.
2. Whoever is to be woken is entered before it looks for the last time whether it has to wait. That look,
   what the leader brings, and every change here but `resign` happen under the link's lock.
3. While nobody leads and somebody waits, one of those who wait has been woken and has yet to look. So
   everyone who leaves, with a result, a timeout or a KeyboardInterrupt, passes the lead on.
4. Reactors sleep: they have callbacks to run besides, so the lead is theirs only when no thread follows.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING

from flux.core.thread import this_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import RLock

__all__ = ["Follower", "Readers"]

_NOBODY = 0
_MENDER = -1  # no thread's identity: the connection is being made anew


class Follower:
    """One wait of one thread while another one reads."""

    __slots__ = ("_woken", "wants_messages")

    def __init__(self, *, wants_messages: bool) -> None:
        self.wants_messages = wants_messages
        self._woken: SimpleQueue[None] = SimpleQueue()

    def wake(self) -> None:
        """Have it look again. From any thread."""
        self._woken.put(None)

    def wait(self, timeout_s: float | None) -> bool:
        """Wait to be woken; False when the time was up before. Raises KeyboardInterrupt as a system call does."""
        try:
            this_thread.block()
            self._woken.get(timeout=None if timeout_s is None else max(0.0, timeout_s))
        except Empty:
            return False
        finally:
            this_thread.is_blocked = False
        return True


class Readers:
    """The election. lock: the link's, held by the caller of everything but `resign`."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._leader = _NOBODY
        self._depth = 0  # a signal's handler may wait inside the wait of its own thread
        self._followers: dict[Follower, None] = {}
        self._sleepers: dict[Callable[[], None], None] = {}

    @property
    def is_led(self) -> bool:
        """Whether some thread may be inside a system call on the stream."""
        return self._leader > _NOBODY

    def lead(self) -> bool:
        """Become the leader, to `resign` soon; False when it is another thread."""
        me = get_ident()
        if self._leader == me:
            self._depth += 1
            return True
        if self._leader != _NOBODY:
            return False
        self._leader, self._depth = me, 1
        return True

    def resign(self) -> None:
        """Lead no more. Without lock, for those who are entered look again whether somebody leads."""
        if self._leader != get_ident():  # a mender took over
            return
        self._depth -= 1
        if self._depth:
            return
        self._leader = _NOBODY
        if self._followers or self._sleepers:
            with self._lock:
                self._pass_on()

    def enter(self, *, wants_messages: bool = False) -> Follower | None:
        """Lead, to `resign` soon, which is None; or else follow, to `part` soon."""
        if self._leader == _NOBODY:
            self._leader, self._depth = get_ident(), 1
            return None
        if self.lead():
            return None
        follower = Follower(wants_messages=wants_messages)
        self._followers[follower] = None
        if self._leader != _NOBODY:
            return follower
        del self._followers[follower]
        self.lead()
        return None

    def part(self, follower: Follower) -> None:
        """It waits no more."""
        del self._followers[follower]
        self._pass_on()

    def enter_reactor(self, wake: Callable[[], None]) -> bool:
        """Lead, to `resign` soon, which is True; or else sleep, to `rise` soon, woken for messages or the lead."""
        if not self._followers and self.lead():
            return True
        self._sleepers[wake] = None
        if self._followers or self._leader != _NOBODY:
            return False
        del self._sleepers[wake]
        return self.lead()

    def rise(self, wake: Callable[[], None]) -> None:
        """The reactor has waited."""
        del self._sleepers[wake]
        self._pass_on()

    def _pass_on(self) -> None:
        if self._leader != _NOBODY:
            return
        for follower in tuple(self._followers):
            follower.wake()
            return
        for wake in tuple(self._sleepers):
            wake()
            return

    def messages_came(self) -> None:
        """Wake those who wait for messages, of which each takes its own."""
        for follower in tuple(self._followers):
            if follower.wants_messages:
                follower.wake()
        for wake in tuple(self._sleepers):
            wake()

    def wake_all(self) -> None:
        """Have everyone look again: the connection has changed."""
        for follower in tuple(self._followers):
            follower.wake()
        for wake in tuple(self._sleepers):
            wake()

    def mend(self) -> None:
        """Nobody reads while the connection is made anew; who led does no more."""
        self._leader, self._depth = _MENDER, 0

    @property
    def is_mending(self) -> bool:
        """Between `mend` and `mended`."""
        return self._leader == _MENDER

    def mended(self) -> None:
        """There is something to read, or nothing ever more."""
        if self._leader == _MENDER:
            self._leader = _NOBODY
        self.wake_all()
