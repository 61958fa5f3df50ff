# SPDX-License-Identifier: Apache-2.0
"""Nothing that tells of a change leaves the daemon before the change is stored.

One transaction is under way at a time; what happens meanwhile goes into the next one. So commits are as large as the
disk is slow, and nothing ever waits for a batch to fill.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from flamepy.core.types import FlameError, FlameErrorCode
from hearth.store.rows import Batch, batch_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.engine.changes import Changes
    from hearth.engine.state import State
    from hearth.store.writer import Data, Writer

__all__ = ["Durability", "Owner"]

log = logging.getLogger(__name__)

_Held = tuple["Callable[[], None]", "Callable[[str], None] | None"]
"""What to do once it is stored, and once it is clear that it cannot be."""

_AGAIN_S = 0.5
"""Until a store that could not be written is tried again."""


class Owner(Protocol):
    """Who makes the changes."""

    def store_failed(self, changes: Changes, why: str) -> None:
        """These are not stored, and will be tried again; what of them is new must be taken back."""

    def something_happened(self) -> None:
        """End a batch."""


class Durability:
    """What waits for the store. writer: None if nothing is stored; then nothing waits. All on one loop."""

    def __init__(self, writer: Writer | None, state: State, owner: Owner) -> None:
        self._writer = writer
        self._state = state
        self._owner = owner
        self._is_closing = False
        self._rows = Batch()
        """Of the transaction under way, or of the one that failed and is to be tried again."""
        self._behind: list[_Held] = []
        """What that transaction holds back."""
        self._next: list[_Held] = []
        self._failure: str | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()

    @property
    def has_store(self) -> bool:
        """Whether anything is stored at all."""
        return self._writer is not None

    @property
    def is_clean(self) -> bool:
        """Whether all that has happened is stored, and more could be."""
        return not (self.is_under_way or self._state.changes or self._failure is not None or self._is_closing)

    @property
    def is_under_way(self) -> bool:
        """Whether a transaction is being written just now."""
        return not self._nothing_under_way.is_set()

    def check(self) -> None:
        """Raise FlameError INTERNAL while the store takes nothing: no change could be acknowledged."""
        if self._failure is not None:
            raise FlameError(FlameErrorCode.INTERNAL, f"{self._failure}; nothing new is taken until it can be")

    def answer(self, send: Callable[[], None], refuse: Callable[[str], None]) -> None:
        """Call send when all that has happened so far is stored, or refuse, with the reason, if it cannot be."""
        if self._failure is not None:
            refuse(self._failure)
        elif self.is_clean:
            send()
        else:
            self._next.append((send, refuse))

    def deliver(self, send: Callable[[], None]) -> None:
        """Call send when all that has happened so far is stored, however long that takes."""
        if self.is_clean:
            send()
        else:
            self._next.append((send, None))

    def read(self, session_key: int, task_ids: list[int], done: Callable[[Data | None, OSError | None], None]) -> None:
        """Read what ended tasks hold; behind all that was written before."""
        assert self._writer is not None
        self._writer.read(session_key, task_ids, done)

    def finish_batch(self) -> None:
        """Begin a transaction with what has changed, unless one is under way or is to be tried again later."""
        if self._writer is None or self.is_under_way or self._is_closing or self._retry is not None:
            return
        if self._state.changes or self._failure is not None:
            self._begin(self._writer)
        else:
            self._release(self._next)

    def _begin(self, writer: Writer) -> None:
        """Write all that has happened, with what could not be written the last time."""
        changes = self._state.take_changes()
        self._rows.add(batch_of(changes))
        self._behind += self._next
        self._next = []
        self._nothing_under_way.clear()
        writer.write(self._rows, lambda error: self._written(changes, error))

    def _written(self, changes: Changes, error: OSError | None) -> None:
        self._nothing_under_way.set()
        if error is None:
            self._recovered()
            self._rows = Batch()
            _mark_stored(changes)
            behind, self._behind = self._behind, []
            self._release(behind)
        else:
            self._failed(changes, error.strerror or str(error))
        self._owner.something_happened()

    def _recovered(self) -> None:
        if self._failure is not None:
            log.warning("the store can be written again")
            self._failure = None

    def _failed(self, changes: Changes, why: str) -> None:
        """Refuse whoever waits for an answer; results wait with us until the store can be written again."""
        if self._failure is None:
            log.error("%s; trying again", why)
        self._failure = why
        refused = [refuse for _, refuse in self._behind if refuse is not None]
        self._behind = [held for held in self._behind if held[1] is None]
        for refuse in refused:
            refuse(why)
        self._owner.store_failed(changes, why)
        if not self._is_closing:
            self._retry = asyncio.get_running_loop().call_later(_AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._owner.something_happened()

    def _release(self, held: list[_Held]) -> None:
        for send, _ in held:
            send()
        held.clear()

    async def close(self) -> None:
        """Store what has happened, then close the file. What cannot be stored now is lost, and told in the log.

        Whoever asks for something from now on gets no answer.
        """
        if self._writer is None:
            return
        self._is_closing = True
        if self._retry is not None:
            self._retry.cancel()
        await self._nothing_under_way.wait()
        self._begin(self._writer)
        await self._nothing_under_way.wait()
        if self._failure is not None:
            log.error("%s; what happened last is lost", self._failure)
        await asyncio.get_running_loop().run_in_executor(None, self._writer.close)


def _mark_stored(changes: Changes) -> None:
    for session in changes.sessions.values():
        session.is_stored = True
    for application in changes.applications.values():
        if application is not None:
            application.is_stored = True
