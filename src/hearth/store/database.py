# SPDX-License-Identifier: Apache-2.0
"""One SQLite file: what is written to it in one transaction, and what is read back.

The write-ahead log is with the operating system when a transaction ends, so what was acknowledged outlives the daemon
however that ends. Outliving a loss of power takes ``synchronous = FULL``: then the disk has it, too.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from hearth.store.rows import check_input, check_output, first_key
from hearth.store.schema import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hearth.store.rows import Batch

__all__ = ["Database"]

_LOG_BYTES = 64 << 20  # what the write-ahead log keeps of the disk after a large transaction
_CHUNKS = (512, 64, 8, 1)
"""Rows of one statement. A statement a row would give the GIL away for each, and starve beside a busy loop; a
statement of any length would be compiled anew each time."""

_COLUMNS = 3


def _statements(table: str) -> dict[int, str]:
    row = f"({', '.join('?' * _COLUMNS)})"
    return {rows: f"INSERT INTO {table} VALUES {', '.join([row] * rows)}" for rows in _CHUNKS}


_INSERT_TASKS = _statements("task")
_INSERT_ENDED = _statements("ended")
_TASK_TABLES = ("task", "progress", "ended")


class Database:
    """The file. Belongs to one thread at a time. Raises OSError, naming the file, if it cannot be used."""

    def __init__(self, path: Path, *, synchronous: str = "NORMAL") -> None:
        self.path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, cached_statements=4 * len(_CHUNKS)
            )
            try:
                self._open(synchronous)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise unreadable(path, error) from error

    def _open(self, synchronous: str) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA synchronous = {synchronous}")
        run(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        prepare(self._connection)
        (verdict,) = run("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(verdict.split()))

    def write(self, batch: Batch) -> None:
        """All of it, or nothing. Raises OSError (EIO) when that fails."""
        run = self._connection.execute
        try:
            with self._connection:
                run("BEGIN IMMEDIATE")
                self._write_records(batch)
                self._write_rows(_INSERT_TASKS, batch.tasks)
                self._write_rows(_INSERT_ENDED, batch.ended)
                for record in batch.progress:
                    run("INSERT OR REPLACE INTO progress VALUES (?, ?)", record)
                for key in batch.gone:
                    self._delete_session(key)
        except sqlite3.Error as error:
            raise OSError(errno.EIO, f"the store {self.path} cannot be written: {error}") from error

    def _write_records(self, batch: Batch) -> None:
        run = self._connection.execute
        for name, data in batch.applications:
            if data is None:
                run("DELETE FROM application WHERE name = ?", (name,))
            else:
                run("INSERT OR REPLACE INTO application VALUES (?, ?)", (name, data))
        for record in batch.sessions:
            run("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", record)

    def _delete_session(self, key: int) -> None:
        run = self._connection.execute
        for table in _TASK_TABLES:
            run(f"DELETE FROM {table} WHERE key > ? AND key < ?", (first_key(key), first_key(key + 1)))
        run("DELETE FROM session WHERE key = ?", (key,))

    def _write_rows(self, statements: dict[int, str], parameters: Sequence[Any]) -> None:
        run = self._connection.execute
        at = 0
        for rows in _CHUNKS:
            width = rows * _COLUMNS
            while len(parameters) - at >= width:
                run(statements[rows], parameters[at : at + width])
                at += width

    # -- back

    def applications(self) -> Iterator[tuple[str, bytes]]:
        """Names and data."""
        return self._connection.execute("SELECT name, data FROM application")

    def sessions(self) -> Iterator[tuple[int, str, bytes]]:
        """Key, id and data, in the order in which they were made."""
        return self._connection.execute("SELECT key, id, data FROM session ORDER BY key")

    def tasks(self) -> Iterator[tuple[int, bytes, bytes | None, bytes | None, bytes | None]]:
        """All by key: key, data, input, data of the end, progress. Those that have ended without their input."""
        return self._connection.execute(
            "SELECT key, task.data, CASE WHEN ended.key IS NULL THEN input END, ended.data, progress.data"
            " FROM task LEFT JOIN ended USING (key) LEFT JOIN progress USING (key) ORDER BY key"
        )

    def data(self, session_key: int, task_ids: Iterable[int]) -> dict[int, tuple[bytes | None, bytes | None]]:
        """Input and output of tasks that have ended, by id. Raises OSError (EIO)."""
        base = first_key(session_key)
        query = "SELECT task.data, input, ended.data, output FROM task JOIN ended USING (key) WHERE key = ?"
        found = {}
        try:
            for task_id in task_ids:
                key = base + task_id
                row = self._connection.execute(query, (key,)).fetchone()
                if row is None:
                    raise ValueError(f"number {key} is missing")
                found[task_id] = check_input(key, row[0], row[1]), check_output(key, row[2], row[3])
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise OSError(errno.EIO, f"the store {self.path} cannot be read: {error}") from error
        return found

    def close(self) -> None:
        """Nothing can be written or read any more."""
        self._connection.close()


def unreadable(path: Path, error: Exception) -> OSError:
    """What to tell people of a file that is damaged, or none of ours."""
    return OSError(errno.EIO, f"{path} cannot be read: {error}; restore it, or move it away to begin anew")
