"""What is acknowledged is stored, and what is stored is whole, also when the store fails or closes just then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flamepy.core.types import ApplicationAttributes, TaskState
from hearth.engine.engine import Engine
from hearth.flame.durability import Durability
from hearth.store.database import Database
from hearth.store.recovery import recover
from hearth.store.writer import Writer
from tests.hearth.engine.driver import make_spec, room

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hearth.engine.changes import Changes
    from hearth.engine.model import Session
    from hearth.store.rows import Batch

NOW = 1000.0
LARGE = bytes(1 << 20)


class SmallDisk(Database):
    """A file that may not grow until it is told so; SQLite then says that the disk is full."""

    is_full = False
    writes = 0

    def write(self, batch: Batch) -> None:
        self.writes += 1
        self._connection.execute(f"PRAGMA max_page_count = {1 if self.is_full else 1 << 30}")
        was_full, self.is_full = self.is_full, False
        super().write(batch)
        assert not was_full, "it was not full"


class Shell:
    """An engine with one session, and its store; the batches are ended by the test."""

    def __init__(self, path: Path) -> None:
        self.engine = Engine(room(4), is_recorded=True)
        self.database = SmallDisk(path)
        recover(self.database, self.engine)
        self.durability = Durability(Writer(self.database), self.engine.state, self)
        self.told: list[str] = []
        self._moved = asyncio.Event()

    @property
    def session(self) -> Session:
        return self.engine.state.session("s")

    def create(self) -> None:
        self.engine.applications.register("app", ApplicationAttributes(command="x"), NOW)
        self.engine.sessions.create("s", make_spec("app"), NOW)

    def submit(self, data: bytes) -> None:
        """Submit a task and hold the answer back until it is stored."""
        number = self.engine.tasks.submit("s", [data], None, 1, NOW)
        self.durability.answer(lambda: self.told.append(f"{number}"), lambda why: self.told.append(f"not {number}"))

    def store_failed(self, changes: Changes, why: str) -> None:
        self.engine.disown(changes, why, NOW)

    def something_happened(self) -> None:
        self.durability.finish_batch()
        self._moved.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what only the end of a transaction brings about."""
        while not condition():
            self._moved.clear()
            await self._moved.wait()


def stored_in(path: Path) -> list[tuple[int, TaskState]]:
    """The session's tasks as the next instance finds them."""
    engine = Engine(room(4), is_recorded=True)
    database = Database(path)
    try:
        recover(database, engine)
    finally:
        database.close()
    return [(task.id, task.state) for task in engine.state.session("s").tasks]


def test_what_could_not_be_written_when_the_store_closes_leaves_no_gap_in_it(tmp_path: Path) -> None:
    async def test() -> list[str]:
        shell = Shell(tmp_path / "flame.sqlite")
        shell.create()
        shell.submit(b"1")
        shell.durability.finish_batch()
        await shell.until(lambda: shell.durability.is_clean)
        shell.database.is_full = True
        shell.submit(LARGE)
        shell.durability.finish_batch()
        shell.submit(b"3")
        await shell.durability.close()
        return shell.told

    assert asyncio.run(test()) == ["1", "not 2", "3"]
    assert stored_in(tmp_path / "flame.sqlite") == [
        (1, TaskState.PENDING),
        (2, TaskState.FAILED),
        (3, TaskState.PENDING),
    ]


def test_nothing_is_acknowledged_that_came_too_late_for_the_last_transaction(tmp_path: Path) -> None:
    async def test() -> list[str]:
        shell = Shell(tmp_path / "flame.sqlite")
        shell.create()
        shell.submit(b"in time")
        closing = asyncio.ensure_future(shell.durability.close())
        await asyncio.sleep(0)
        shell.submit(b"late")
        shell.durability.finish_batch()
        await closing
        shell.durability.answer(lambda: shell.told.append("read"), shell.told.append)
        return shell.told

    assert asyncio.run(test()) == ["1"]
    assert stored_in(tmp_path / "flame.sqlite") == [(1, TaskState.PENDING)]


def test_a_store_that_waits_to_be_tried_again_is_tried_once_more_when_it_closes(tmp_path: Path) -> None:
    async def test() -> list[str]:
        shell = Shell(tmp_path / "flame.sqlite")
        shell.create()
        shell.durability.finish_batch()
        await shell.until(lambda: shell.durability.is_clean)
        shell.submit(b"1")
        shell.database.is_full = True
        shell.engine.tasks.submit("s", [LARGE], None, 2, NOW)
        shell.durability.finish_batch()
        await shell.until(lambda: shell.told)
        await shell.durability.close()
        return shell.told

    assert asyncio.run(test()) == ["not 1"]
    assert stored_in(tmp_path / "flame.sqlite") == [(1, TaskState.FAILED), (2, TaskState.FAILED)]
