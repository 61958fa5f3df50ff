"""What is written is read back as it was, whatever was in between; what is damaged is refused and named."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flamepy.core.types import ApplicationAttributes, FlameError, SessionState, TaskState
from flamepy.protocol import MAX_TASK_DATA_BYTES, CompletionBatch
from hearth.engine.engine import Engine
from hearth.engine.lifecycle import ExecutorState
from hearth.store import schema
from hearth.store.database import Database
from hearth.store.recovery import recover
from hearth.store.rows import batch_of
from tests.hearth.engine.driver import make_spec, room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hearth.engine.model import Session, Task


def new_engine() -> Engine:
    return Engine(room(4), is_recorded=True)


class Stored:
    """An engine whose changes are written after each step, without a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = new_engine()
        self.database = Database(path)
        recover(self.database, self.engine)
        self.now = 1000.0

    def write(self) -> None:
        self.engine.step(self.now)
        self.database.write(batch_of(self.engine.state.take_changes()))

    def register(self) -> None:
        self.engine.applications.register("app", ApplicationAttributes(command="x"), self.now)

    def session(self, session_id: str = "s", **spec: object) -> Session:
        return self.engine.sessions.create(session_id, make_spec("app", **spec), self.now)

    def submit(self, *inputs: bytes | None, session_id: str = "s", number: int = 1, client: str = "me") -> int:
        return self.engine.tasks.submit(session_id, list(inputs), None, number, self.now, client=client)

    def finish(self, *answers: tuple[int, bytes | None, str | None], session_id: str = "s") -> None:
        """Have an executor do these tasks."""
        session = self.engine.state.session(session_id)
        self.engine.step(self.now)
        for executor in session.executors.values():
            if executor.state is ExecutorState.VOID:
                self.engine.executors.attached(executor.id, self.now)
                self.engine.executors.report(executor, CompletionBatch(executor.id, entered=True), self.now)
        for answer in answers:
            self.engine.step(self.now)
            for executor in session.executors.values():
                self.engine.executors.report(executor, CompletionBatch(executor.id, done=[answer]), self.now)

    def again(self) -> Stored:
        """The next instance on the same file."""
        self.database.close()
        return Stored(self.path)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    made = Stored(tmp_path / "flame.sqlite")
    made.register()
    yield made
    with contextlib.suppress(sqlite3.Error):
        made.database.close()


def facts(task: Task) -> tuple[object, ...]:
    return task.id, task.state, task.created, task.completed, task.message, task.number


def test_tasks_come_back_in_their_states_and_what_ran_waits_again(stored: Stored) -> None:
    session = stored.session()
    stored.submit(b"a", None, b"", b"d")
    stored.write()
    stored.finish((1, b"out", None), (2, None, "ValueError: no"))
    stored.write()
    before = list(map(facts, session.tasks[:2]))
    again = stored.again()
    restored = again.engine.state.session("s")
    assert [task.state for task in restored.tasks] == [
        TaskState.SUCCEED,
        TaskState.FAILED,
        TaskState.PENDING,
        TaskState.PENDING,
    ]
    assert list(map(facts, restored.tasks[:2])) == before
    assert (restored.succeed, restored.failed, restored.running, len(restored.pending)) == (1, 1, 0, 2)
    assert [task.input for task in restored.pending] == [b"", b"d"]
    assert again.database.data(restored.key, [1, 2]) == {1: (b"a", b"out"), 2: (None, None)}
    assert again.engine.tasks.waiting_bytes == 1
    again.database.close()


def test_a_task_that_came_and_ended_between_two_transactions_is_there(stored: Stored) -> None:
    stored.session()
    stored.submit(b"a")
    stored.finish((1, b"out", None))
    stored.write()
    again = stored.again()
    assert again.engine.state.session("s").succeed == 1
    again.database.close()


def test_numbers_that_became_tasks_are_known_after_a_restart(stored: Stored) -> None:
    stored.session()
    stored.submit(b"a", b"b", number=5)
    stored.submit(b"c", number=1, client="other")
    stored.submit(b"d", number=9)
    stored.write()
    again = stored.again()
    assert again.submit(b"a", b"b", number=5) == 1
    assert again.submit(b"c", number=1, client="other") == 3
    assert again.submit(b"d", number=9) == 4
    assert again.submit(b"e", number=7) == 5
    with pytest.raises(FlameError, match="submitted before in part"):
        again.submit(b"x", b"x", b"x", number=6)
    again.database.close()


def test_sessions_keep_their_order_state_events_and_specification(stored: Stored) -> None:
    first = stored.session("z", common_data=b"", min_instances=1, max_instances=3, priority=7, timeout_s=1.5)
    stored.session("a")
    stored.write()
    stored.engine.sessions.close("a", stored.now + 5)
    stored.write()
    again = stored.again()
    sessions = again.engine.state.sessions
    assert list(sessions) == ["z", "a"]
    assert sessions["z"].spec == first.spec
    assert (sessions["a"].state, sessions["a"].completed) == (SessionState.CLOSED, stored.now + 5)
    assert list(again.engine.state.open_sessions) == ["z"]
    again.database.close()


def test_what_is_gone_stays_gone_and_its_id_may_be_used_again(stored: Stored) -> None:
    stored.session()
    stored.submit(b"old")
    stored.write()
    stored.engine.sessions.close("s", stored.now)
    stored.engine.sessions.unregister_application("app")
    stored.register()
    stored.session()
    stored.submit(b"new")
    stored.write()
    again = stored.again()
    assert [task.input for task in again.engine.state.session("s").tasks] == [b"new"]
    again.database.close()


def test_a_session_that_is_gone_does_not_come_back_when_its_last_executor_ends_badly(stored: Stored) -> None:
    session = stored.session(min_instances=1)
    stored.write()
    (executor,) = session.executors.values()
    stored.engine.executors.attached(executor.id, stored.now)
    stored.engine.executors.report(executor, CompletionBatch(executor.id, failure="no"), stored.now)
    stored.engine.sessions.close("s", stored.now)
    stored.engine.sessions.unregister_application("app")
    stored.write()
    stored.engine.executors.exited(executor.id, "exited with status 1", stored.now)
    stored.write()
    again = stored.again()
    assert not again.engine.state.sessions
    again.database.close()


def test_a_built_in_application_stays_when_an_update_of_it_cannot_be_stored(stored: Stored) -> None:
    engine = new_engine()
    engine.applications.register("built-in", ApplicationAttributes(command="x"), stored.now)
    recover(stored.database, engine)
    engine.sessions.update_application("built-in", ApplicationAttributes(command="y"))
    engine.disown(engine.state.take_changes(), "disk full", stored.now)
    assert engine.applications.get("built-in").attributes.command == "y"


def test_taking_back_an_application_leaves_another_one_of_its_name(stored: Stored) -> None:
    changes = stored.engine.state.take_changes()
    stored.engine.sessions.unregister_application("app")
    stored.register()
    stored.engine.disown(changes, "disk full", stored.now)
    assert stored.engine.applications.try_get("app") is not None


def test_an_input_that_no_row_can_hold_is_refused_before_it_blocks_the_store(stored: Stored) -> None:
    stored.session()
    with pytest.raises(FlameError, match="at most"):
        stored.submit(b"x", bytes(MAX_TASK_DATA_BYTES + 1))  # untouched pages: it costs no memory
    stored.write()
    largest = sqlite3.connect(":memory:").execute("SELECT length(zeroblob(?))", (MAX_TASK_DATA_BYTES + 1000,))
    assert largest.fetchone() == (MAX_TASK_DATA_BYTES + 1000,)


def test_a_batch_that_fails_leaves_nothing_of_itself(stored: Stored) -> None:
    stored.session()
    stored.submit(b"a")
    stored.write()
    stored.submit(b"b", number=2)
    rows = batch_of(stored.engine.state.take_changes())
    rows.tasks[0] = 1 << 32 | 1  # a key that is there already
    with pytest.raises(OSError, match=r"flame\.sqlite cannot be written"):
        stored.database.write(rows)
    again = stored.again()
    assert len(again.engine.state.session("s").tasks) == 1
    again.database.close()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_was_submitted_and_done_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stored = Stored(tmp_path_factory.mktemp("store") / "flame.sqlite")
    stored.register()
    stored.session()
    inputs = data.draw(st.lists(st.none() | st.binary(max_size=30), max_size=30))
    cuts = data.draw(st.lists(st.integers(0, len(inputs)), max_size=4).map(sorted))
    for low, high in zip([0, *cuts], [*cuts, len(inputs)], strict=True):
        if high > low:
            stored.submit(*inputs[low:high], number=low + 1)
        if data.draw(st.booleans()):
            stored.write()
        task = data.draw(st.integers(1, max(1, high)))
        stored.finish((task, data.draw(st.none() | st.binary(max_size=9)), data.draw(st.none() | st.text(max_size=9))))
    stored.write()
    session = stored.engine.state.session("s")
    expected = [facts(task) if task.state >= TaskState.SUCCEED else (task.id, task.input) for task in session.tasks]
    again = stored.again()
    restored = again.engine.state.session("s")
    assert expected == [
        facts(task) if task.state >= TaskState.SUCCEED else (task.id, task.input) for task in restored.tasks
    ]
    again.database.close()


# -- files that are not as they should be


@pytest.fixture
def filled(stored: Stored) -> Path:
    """A file with some hundred tasks in it, closed well."""
    stored.session(common_data=b"common")
    stored.submit(*(b"%0100d" % number for number in range(400)))
    stored.write()
    stored.finish(*((number, b"%0100d" % number, None) for number in range(1, 200)))
    stored.write()
    stored.database.close()
    return stored.path


def everything(path: Path) -> list[object]:
    """All that an instance would tell of the file. Raises OSError if it is refused."""
    database = Database(path)
    try:
        engine = new_engine()
        recover(database, engine)
        found: list[object] = []
        for session in engine.state.sessions.values():
            ended = [task.id for task in session.tasks if task.state >= TaskState.SUCCEED]
            found += [session.id, session.spec, session.state, list(map(facts, session.tasks))]
            found += [[task.input for task in session.pending], database.data(session.key, ended)]
        return found
    finally:
        database.close()


def test_damage_anywhere_is_told_or_harmless_and_never_taken_for_the_truth(filled: Path) -> None:
    truth = everything(filled)
    whole = filled.read_bytes()
    chance = random.Random(7)
    refused = 0
    for _ in range(300):
        at = chance.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        filled.write_bytes(damaged)
        try:
            found = everything(filled)
        except OSError:
            refused += 1
        else:
            assert found == truth, f"a bit flipped at byte {at} changes what is read"
    assert refused > 100


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"garbage" * 1000,
        lambda data: data[:4096] + bytes(len(data) - 4096),
        lambda data: data[:20000] + b"\xff" * 4096 + data[24096:],
    ],
    ids=["cut in half", "no database", "all pages zero", "a page overwritten"],
)
def test_a_damaged_file_is_refused_with_its_name_and_what_to_do(filled: Path, damage: Callable[[bytes], bytes]) -> None:
    data = damage(filled.read_bytes())
    filled.write_bytes(data)
    with pytest.raises(OSError, match=r"flame\.sqlite cannot be read: .*; restore it, or move it away to begin anew"):
        everything(filled)
    assert filled.read_bytes()[: len(data)] == data, "it was written to"


def test_a_missing_task_is_refused(filled: Path) -> None:
    with contextlib.closing(sqlite3.connect(filled, isolation_level=None)) as database:
        database.execute("DELETE FROM task WHERE key = ?", (1 << 32 | 7,))
    with pytest.raises(OSError, match="task 7 of session 's' is missing"):
        everything(filled)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flame.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name)")
    with pytest.raises(OSError, match="something else"):
        Database(path)


def test_a_file_of_a_later_version_is_left_alone(filled: Path) -> None:
    with contextlib.closing(sqlite3.connect(filled, isolation_level=None)) as database:
        database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(
        OSError, match=rf"version {schema.VERSION + 1}, this program knows those up to {schema.VERSION}"
    ):
        Database(filled)


def test_an_older_file_is_brought_up_to_date_and_keeps_what_is_in_it(filled: Path) -> None:
    with contextlib.closing(sqlite3.connect(filled, isolation_level=None)) as database:
        schema.prepare(database, (*schema.MIGRATIONS, "ALTER TABLE session ADD COLUMN note TEXT;"))
        assert database.execute("SELECT count(note), count(*) FROM session").fetchone() == (0, 1)
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION + 1,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(filled: Path) -> None:
    truth = everything(filled)
    with contextlib.closing(sqlite3.connect(filled, isolation_level=None)) as database:
        wrong = "ALTER TABLE session ADD COLUMN note TEXT; DELETE FROM nowhere;"
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            schema.prepare(database, (*schema.MIGRATIONS, wrong))
    assert everything(filled) == truth
