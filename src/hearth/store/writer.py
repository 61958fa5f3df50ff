# SPDX-License-Identifier: Apache-2.0
"""The one thread that uses the database: it writes a batch a transaction, and reads what is asked for between two."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hearth.store.database import Database
    from hearth.store.rows import Batch

__all__ = ["Writer"]

_T = TypeVar("_T")
Data = dict[int, "tuple[bytes | None, bytes | None]"]


class _Job(Generic[_T]):
    """Something to do with the database, and who is told of its outcome, on the loop."""

    def __init__(self, work: Callable[[], _T], done: Callable[[_T | None, OSError | None], object]) -> None:
        self._work = work
        self._done = done

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            result, error = self._work(), None
        except OSError as failure:
            result, error = None, failure
        loop.call_soon_threadsafe(self._done, result, error)


class Writer:
    """Does what it is asked in the order of asking, and says so on the loop that it was made on.

    Owns the database from now on.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job[None] | _Job[Data] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="hearth store", daemon=True)
        self._thread.start()

    def write(self, batch: Batch, done: Callable[[OSError | None], object]) -> None:
        """Write the batch in one transaction; done is then told the error, or None."""
        self._jobs.put(_Job(lambda: self._database.write(batch), lambda _, error: done(error)))

    def read(
        self, session_key: int, task_ids: Iterable[int], done: Callable[[Data | None, OSError | None], None]
    ) -> None:
        """Read input and output of ended tasks, by their ids."""
        ids = list(task_ids)
        self._jobs.put(_Job(lambda: self._database.data(session_key, ids), done))

    def close(self) -> None:
        """Finish what was asked, then close the file. What is done is told as long as the loop runs."""
        self._jobs.put(None)
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run(self._loop)
