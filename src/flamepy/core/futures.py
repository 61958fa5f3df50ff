# SPDX-License-Identifier: Apache-2.0
"""Futures that cost little until somebody waits: a `concurrent.futures.Future` without its lock.

A stock future makes a condition variable when it is born and takes it when it is resolved: 3 µs for
each task, more than everything else on its way (docs/decisions/003). Here the condition is made
by the first one who needs it, and a future that is resolved before that takes a common one.

How it is safe. Whoever waits, cancels or adds a callback goes through ``_condition`` first, as the
stock code does everywhere. It is looked up in the instance's dictionary, and put there by one atomic
``setdefault``: either a waiter's own condition gets in, and the resolver takes the stock path with
it, or the common one gets in, and then the resolver holds its lock until the result is there. Nobody
ever waits on the common one: whoever has acquired it finds the future finished.
"""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Completions", "LeanFuture", "Outcome", "orphan", "outcome_of", "resolve", "tell_if_cancelled"]


class _Finished:
    """The condition of every future that was resolved before anyone waited for it.

    Acquiring it waits until results are no longer being put in, and holds nothing: they are final. A
    lock would not do: `wait` takes the conditions of all its futures, in the order of their ids, and two
    callers who come to a common one with different others in their hands lock each other out for ever.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def acquire(self) -> None:
        with self.lock:
            pass

    def release(self) -> None:
        pass

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        pass


_finished = _Finished()
# A fork while another thread puts results in would leave the child with a lock that nobody opens.
os.register_at_fork(
    before=_finished.lock.acquire, after_in_parent=_finished.lock.release, after_in_child=_finished.lock.release
)


class _MadeOnDemand:
    """An attribute made when it is first looked at. Not a data descriptor, so the instance's own hides it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, future: Future[Any], owner: type) -> Any:
        return future.__dict__.setdefault(self._name, self._make())


class Owner(Protocol):
    """Whoever knows what a future stands for."""

    def cancel(self, number: int) -> None:
        """The future of that number was cancelled: nobody waits for its task any more. Must not wait."""


class LeanFuture(Future["bytes | None"]):
    """A pending future. Everything works as on the stock one, with `wait` and `as_completed` too."""

    _state = PENDING
    _result = None
    _exception = None
    _condition = _MadeOnDemand(threading.Condition)
    _waiters = _MadeOnDemand(list)
    _done_callbacks = _MadeOnDemand(list)

    __slots__ = ("_number", "_owner")  # in places of their own, which cost less than ones in the instance's dictionary

    def __init__(self, owner: Owner | None = None, number: int = 0) -> None:
        """owner: who is to be told when the future is cancelled, by its number there."""
        # Not super().__init__(): what it sets is above, or made on demand.
        self._owner = owner
        self._number = number

    def cancel(self) -> bool:
        """Cancel the task: here at once, so that those who wait are told, and then where it runs.

        Returns False if its result is already here. Never waits: the instance is told soon.
        """
        if not super().cancel():
            return False
        if tell_if_cancelled(self) and self._owner is not None:
            self._owner.cancel(self._number)
        return True


def resolve(results: Iterable[tuple[LeanFuture, bytes | None]]) -> None:
    """Give many futures their results. Cancelled ones are left cancelled, and those who wait for them are told."""
    contended = []
    with _finished.lock:
        for future, result in results:
            attributes = future.__dict__
            if attributes.setdefault("_condition", _finished) is _finished:
                attributes["_result"] = result
                attributes["_state"] = FINISHED
            else:
                contended.append((future, result))
    # Outside of the common lock: the stock path runs callbacks, which may do anything.
    for future, result in contended:
        try:
            future.set_result(result)
        except InvalidStateError:
            tell_if_cancelled(future)


def orphan(future: LeanFuture, error: Exception) -> None:
    """Fail a pending future in a forked child, whatever the parent's threads were doing with it.

    Their locks, waiters and callbacks stay in the parent.
    """
    if future._state not in (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED):
        future.__dict__.update(_condition=_finished, _waiters=[], _done_callbacks=[], _exception=error, _state=FINISHED)


def tell_if_cancelled(future: LeanFuture) -> bool:
    """If a future has been cancelled, and nobody has told those who wait for it yet, tell them; returns whether."""
    with future._condition:  # two threads may come here with the same future
        if future._state != CANCELLED:
            return False
        future.set_running_or_notify_cancel()
    return True


Outcome: TypeAlias = "tuple[BaseException | None, bytes | None]"
"""What a finished future holds: its error, or None and its result."""


def outcome_of(future: Future[bytes | None]) -> Outcome | None:
    """The outcome if it is there, None before. Takes no lock, and gives a pending future no condition.

    The state is set last, so what it says is there. Raises CancelledError for a cancelled future.
    """
    if future._state == FINISHED:
        return future._exception, future._result
    if future._state == PENDING:
        return None
    raise CancelledError


class Completions:
    """Futures in the order in which they finish, for the one caller who has them.

    They share a condition and a callback, so one costs a third of what `Future.add_done_callback` does. Nobody
    else may have them: whoever waits for several futures takes the conditions of all of them, one by one.
    """

    def __init__(self) -> None:
        self._finished: queue.SimpleQueue[Future[bytes | None]] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._shared = {"_waiters": [], "_done_callbacks": [self._finished.put]}

    def add(self, future: Future[bytes | None]) -> None:
        """Have it come out of `get` when it has finished."""
        attributes = future.__dict__
        with self._lock:  # who finds our condition in it waits until the rest is there too
            if attributes.setdefault("_condition", self._condition) is self._condition:
                attributes.update(self._shared)
                return
        future.add_done_callback(self._finished.put)  # it is being resolved just now, or is already

    def get(self, timeout: float | None = None) -> Future[bytes | None]:
        """The next one; waits for it. timeout: in seconds. Raises queue.Empty when it is over."""
        return self._finished.get(timeout=timeout)

    def get_nowait(self) -> Future[bytes | None]:
        """The next one. Raises queue.Empty if none has finished."""
        return self._finished.get_nowait()
