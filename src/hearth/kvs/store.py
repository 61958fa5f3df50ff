# SPDX-License-Identifier: Apache-2.0
"""The store on disk: one SQLite file, written in one transaction a batch, read once at the start.

It holds what is alive in memory and nothing else. The write-ahead log is with the operating system when a
transaction ends, so what was answered outlives the daemon however that ends; a commit with SYNC is also forced to the
disk, and outlives the machine's end.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from hearth.broker.credentials import ServiceError
from hearth.kvs.dirents import decode_entry
from hearth.kvs.namespaces import Namespace
from hearth.kvs.objects import ref_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hearth.kvs.namespaces import Namespaces
    from hearth.kvs.objects import Content, Directory, ObjectKind

__all__ = ["Store"]

_VERSION = 1
_LOG_BYTES = 16 << 20  # what the write-ahead log keeps of the disk after a large transaction
_SCHEMA = """
CREATE TABLE object (kind TEXT, ref TEXT, data BLOB NOT NULL, PRIMARY KEY (kind, ref)) WITHOUT ROWID;
CREATE TABLE namespace (name TEXT PRIMARY KEY, owner INT, flags INT, sequence INT, root TEXT) WITHOUT ROWID;
"""


_SELECT = "SELECT ref, CAST(data AS BLOB) FROM object WHERE kind ="  # damage may have made it a text
_Row = tuple[str, int, int, int, str]
"""Name, owner, flags, sequence and root of a namespace."""


def _row(state: Namespace) -> _Row:
    return state.name, state.owner, state.flags, state.sequence, state.root.ref


class Store:
    """The file and the namespaces that are kept in it. Belongs to one thread.

    Raises OSError, naming the file, if it cannot be used, or is of a later version.
    """

    def __init__(self, path: Path, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._content = namespaces.content
        self._written: set[_Row] = set()
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            try:
                self._prepare()
                self._load()
            except BaseException:
                self._database.close()
                raise
        except (sqlite3.Error, ServiceError, UnicodeDecodeError) as error:
            raise OSError(f"{path} cannot be read: {error}; restore it, or move it away to begin anew") from error

    def _prepare(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this program knows {_VERSION}")

    def _load(self) -> None:
        """Bring back every namespace. What no root leads to any more is not, and the next flush deletes it."""
        content = self._content
        blobs = [content.blob(data) for _, data in self._database.execute(f"{_SELECT} 'blob'")]
        directories = _Directories(content, self._database)
        self._written = set(self._database.execute("SELECT name, owner, flags, sequence, root FROM namespace"))
        states = {
            name: Namespace(name, owner, flags, directories.load(root), sequence)
            for name, owner, flags, sequence, root in self._written
        }
        self._namespaces.restore(self._namespaces.all() | states)
        del blobs, directories
        alive = set(content)
        for key in self._database.execute("SELECT kind, ref FROM object"):
            if key in alive:
                content.changes.pop(key, None)
            else:
                content.changes[key] = None

    def flush(self, *, to_disk: bool = False) -> None:
        """Write what has changed since the last time, all or none; to_disk: wait until the disk has it.

        Raises OSError (EIO) when that fails; what has changed is then still to be written.
        """
        rows = {_row(state) for state in self._namespaces.all().values()}
        try:
            if self._content.changes or rows != self._written:
                self._write(rows)
            if to_disk:
                self._database.execute("PRAGMA wal_checkpoint(FULL)")
        except sqlite3.Error as error:
            raise OSError(errno.EIO, f"the key-value store cannot be written: {error}") from error

    def _write(self, rows: set[_Row]) -> None:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._write_objects(self._content.changes)
            self._write_namespaces(rows)
        self._content.changes.clear()
        self._written = rows

    def _write_objects(self, changes: Mapping[tuple[ObjectKind, str], bytes | None]) -> None:
        run = self._database.executemany
        run("DELETE FROM object WHERE kind = ? AND ref = ?", [key for key, data in changes.items() if data is None])
        made = [(*key, data) for key, data in changes.items() if data is not None]
        run("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", made)

    def _write_namespaces(self, rows: set[_Row]) -> None:
        run = self._database.executemany
        run("DELETE FROM namespace WHERE name = ?", [(name,) for name, *_ in self._written - rows])
        run("INSERT INTO namespace VALUES (?, ?, ?, ?, ?)", rows - self._written)

    def close(self) -> None:
        """Nothing can be written any more."""
        self._database.close()


class _Directories:
    """Those on the disk, made from the leaves up, each once however many lead to it."""

    def __init__(self, content: Content, database: sqlite3.Connection) -> None:
        self._content = content
        self._data = dict(database.execute(f"{_SELECT} 'directory'"))
        self._made: dict[str, Directory] = {}

    def load(self, ref: str) -> Directory:
        """No recursion: a copied directory in a directory can be deeper than any key."""
        open_refs = [ref]
        while open_refs:
            ref = open_refs[-1]
            missing = [] if ref in self._made else self._make(ref)
            if missing:
                open_refs += missing
            else:
                open_refs.pop()
        return self._made[ref]

    def _make(self, ref: str) -> list[str]:
        """Make the directory, or tell which ones must be there first.

        Raises DatabaseError if it is not what was written, for the file has no checksums of its own.
        """
        if ref not in self._data:
            raise sqlite3.DatabaseError(f"directory {ref} is missing")
        if ref_of(self._data[ref]) != ref:
            raise sqlite3.DatabaseError(f"directory {ref} is damaged")
        entries = msgspec.json.decode(self._data[ref])["data"]
        children = [entry["data"][0] for entry in entries.values() if entry["type"] == "dirref"]
        missing = [child for child in children if child not in self._made]
        if not missing:
            decoded = {name: decode_entry(self._content, entry) for name, entry in entries.items()}
            self._made[ref] = self._content.directory(decoded)
        return missing
