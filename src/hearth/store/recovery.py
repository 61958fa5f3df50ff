# SPDX-License-Identifier: Apache-2.0
"""From the database to the engine, once, when an instance starts."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from hearth.engine.restoring import order_closed, restore_session
from hearth.store.database import unreadable
from hearth.store.rows import (
    TASK_BITS,
    application_of,
    check_input,
    first_key,
    restore_end,
    restore_progress,
    restore_task,
    session_of,
)

if TYPE_CHECKING:
    from hearth.engine.engine import Engine
    from hearth.engine.model import Session, Task
    from hearth.store.database import Database

__all__ = ["recover"]


def recover(database: Database, engine: Engine) -> None:
    """Give the engine what is stored: what ran waits again, what had ended keeps its data in the store.

    Raises OSError, naming the file, if something in it is not what was written.
    """
    try:
        for name, data in database.applications():
            engine.applications.add(application_of(name, data))
        for application in engine.applications.all():
            application.is_stored = True  # those that were there before us are made anew each time
        applications = {application.name: application for application in engine.applications.all()}
        sessions = {key: session_of(key, id_, data, applications) for key, id_, data in database.sessions()}
        tasks = _tasks(database, sessions)
        for key, session in sessions.items():
            restore_session(engine, session, tasks[key])
        order_closed(engine)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise unreadable(database.path, error) from error
    engine.state.take_changes()  # it knows


def _tasks(database: Database, sessions: dict[int, Session]) -> dict[int, list[Task]]:
    """The tasks of each session, by its key. Raises ValueError if one is missing, or belongs nowhere."""
    found: dict[int, list[Task]] = {key: [] for key in sessions}
    base = end = 0
    for key, data, input_, ended, progress in database.tasks():
        if key >= end:
            session_key = key >> TASK_BITS
            if session_key not in sessions:
                raise ValueError(f"tasks belong to session number {session_key}, which is missing")
            session, tasks = sessions[session_key], found[session_key]
            base, end = first_key(session_key), first_key(session_key + 1)
        if key - base != len(tasks) + 1:
            raise ValueError(f"task {len(tasks) + 1} of session {session.id!r} is missing")
        task = restore_task(len(tasks) + 1, key, data)
        tasks.append(task)
        if progress is not None:
            restore_progress(session, task, key, progress)
        if ended is not None:
            restore_end(task, key, ended)
        else:
            task.input = check_input(key, data, input_)
    return found
