# SPDX-License-Identifier: Apache-2.0
"""The tables, their version, and the way from each older version to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["APPLICATION_ID", "MIGRATIONS", "VERSION", "prepare"]

APPLICATION_ID: Final = 0x48727468
"""`Hrth`, in the file's header: somebody else's database is not taken for ours."""

_CREATE = """
CREATE TABLE application (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE session (key INTEGER PRIMARY KEY, id TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE task (key INTEGER PRIMARY KEY, data BLOB NOT NULL, input BLOB);
CREATE TABLE progress (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE ended (key INTEGER PRIMARY KEY, data BLOB NOT NULL, output BLOB);
"""
# A task's key is its session's key and its own number in one, so that a session's tasks lie side by side. Its end is a
# row of its own: both tables only grow at their ends, which is cheaper than to find and rewrite. What users put in
# comes last, so that the rest is read without it. Data is msgpack with a checksum: SQLite has none of its own.

MIGRATIONS: Final[tuple[str, ...]] = (_CREATE,)
"""Statement n brings a file of version n to version n + 1. What has been released is never edited, only followed."""

VERSION: Final = len(MIGRATIONS)


def prepare(database: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring a file up to date, in one transaction a version. Raises sqlite3.Error if it is none of ours, or damaged."""
    (found,) = database.execute("PRAGMA user_version").fetchone()
    (owner,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (found or tables):
        raise database.DatabaseError("it is a database of something else")
    if found > len(migrations):
        raise database.DatabaseError(f"it has version {found}, this program knows those up to {len(migrations)}")
    for version in range(found, len(migrations)):
        try:
            database.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
                f" {migrations[version]} PRAGMA user_version = {version + 1}; COMMIT"
            )
        except BaseException:
            database.rollback()
            raise
