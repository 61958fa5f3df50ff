"""The disk takes nothing more: what is new is refused, what was acknowledged stays, and with room again all goes on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

import flamepy
import flux.kvs
from flamepy import FlameErrorCode, TaskState
from tests.conftest import (
    DEADLINE_S,
    FAULT_S,
    Daemon,
    Gate,
    actor_session,
    expect_refusal,
    register_actor,
    wait_until,
)
from tests.faults.disks import LimitedFiles, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Place
    from tests.faults.disks import Disk

_TOLD = "flame.sqlite cannot be written"


@pytest.fixture(params=["small disk", "limited files"])
def disk(request: pytest.FixtureRequest, place: Place) -> Iterator[Disk]:
    statedir = place.folder / "state"
    statedir.mkdir(mode=0o700)
    if request.param == "limited files":
        yield LimitedFiles(statedir)
    else:
        with small_disk(statedir) as disk:
            yield disk


@pytest.fixture
def daemon(place: Place, disk: Disk) -> Iterator[Daemon]:
    """On that disk. Executors and clients look for it when it is gone."""
    daemon = Daemon(place, FLAME_RECONNECT_TIMEOUT=f"{DEADLINE_S}")
    yield daemon
    daemon.stop()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[flamepy.Connection]:
    with contextlib.closing(daemon.connect(DEADLINE_S)) as connection:
        register_actor(connection)
        yield connection


@pytest.fixture
def session(client: flamepy.Connection) -> flamepy.Session:
    """With one executor, which is there."""
    session = actor_session(client)
    session.invoke(b"warm")
    return session


def find_out(session: flamepy.Session) -> None:
    """Somebody has to be the first."""
    with expect_refusal(FlameErrorCode.INTERNAL, _TOLD):
        session.create_task(b"first")


def takes_again(session: flamepy.Session) -> bool:
    with contextlib.suppress(flamepy.FlameError):
        session.create_task(b"again")
        return True
    return False


WAYS: dict[str, Callable[[flamepy.Session], object]] = {
    "create_task": lambda session: session.create_task(b"x"),
    "invoke": lambda session: session.invoke(b"x"),
    "run": lambda session: session.run(b"x").result(FAULT_S),
    "map": lambda session: list(session.map([b"x"])),
    "create_session": lambda session: actor_session(session.connection),
    "register_application": lambda session: register_actor(session.connection, "another"),
}


def test_what_is_new_is_refused_and_the_store_is_named(disk: Disk, daemon: Daemon, session: flamepy.Session) -> None:
    disk.fill(daemon)
    find_out(session)
    for use in [*WAYS.values(), *WAYS.values()]:
        with expect_refusal(FlameErrorCode.INTERNAL, str(daemon.statedir), _TOLD):
            use(session)
    disk.free(daemon)
    wait_until(lambda: takes_again(session), "tasks are taken again")
    assert all(use(session) for use in WAYS.values())
    assert daemon.log().count(f"{_TOLD}: ") == 1
    assert daemon.log().count("the store can be written again") == 1


def test_futures_of_what_had_not_begun_fail_at_once_and_later_ones_are_done(
    disk: Disk, daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    at_work = session.run(gate.task)
    gate.wait_until_reached()
    disk.fill(daemon)
    futures = [session.run(b"%d" % number) for number in range(2000)]
    for future in [*futures, *(session.run(b"x") for _ in range(2000))]:
        with expect_refusal(FlameErrorCode.INTERNAL, _TOLD):
            future.result(FAULT_S)
    gate.open()
    disk.free(daemon)
    assert at_work.result(DEADLINE_S) == b"through"
    wait_until(lambda: takes_again(session), "tasks are taken again")
    assert [session.run(b"%d" % number).result(FAULT_S) for number in range(100)] == [b"%d" % n for n in range(100)]


def test_reading_goes_on(disk: Disk, daemon: Daemon, session: flamepy.Session) -> None:
    task = session.create_task(b"before")
    list(session.watch_task(task.id, DEADLINE_S))
    disk.fill(daemon)
    find_out(session)
    connection = session.connection
    assert session.get_task(task.id).output == b"before"
    assert [task.input for task in session.list_tasks()][:2] == [b"warm", b"before"]
    assert session.id in [each.id for each in connection.list_sessions()]
    assert connection.list_executors()
    [last] = session.watch_task(task.id, FAULT_S)
    assert last.output == b"before"


def test_the_results_of_what_was_acknowledged_come_when_there_is_room(
    disk: Disk, daemon: Daemon, session: flamepy.Session, gate: Gate
) -> None:
    """Told before they are stored they might have to be taken back."""
    at_work = session.run(gate.task)
    gate.wait_until_reached()
    waiting = session.run(b"waiting")
    made = [session.create_task(b"%d" % number) for number in range(10)]
    disk.fill(daemon)
    gate.open()
    wait_until(lambda: _TOLD in daemon.log(), "the store has failed")
    assert not at_work.done()
    disk.free(daemon)
    assert at_work.result(DEADLINE_S) == b"through"
    assert waiting.result(DEADLINE_S) == b"waiting"
    for task in made:
        *_, last = session.watch_task(task.id, DEADLINE_S)
        assert (last.state, last.output) == (TaskState.SUCCEED, task.input)


@pytest.mark.parametrize("has_room", [True, False], ids=["with room", "still full"])
def test_killed_meanwhile_the_daemon_starts_again_with_all_that_was_acknowledged(
    disk: Disk, daemon: Daemon, session: flamepy.Session, gate: Gate, has_room: bool
) -> None:
    at_work = session.run(gate.task)
    gate.wait_until_reached()
    made = [session.create_task(b"%d" % number) for number in range(10)]
    disk.fill(daemon)
    find_out(session)
    gate.open()
    daemon.kill()
    if has_room:
        disk.free(daemon)
    daemon.start()
    if not has_room and isinstance(disk, LimitedFiles):
        disk.fill(daemon)
    with contextlib.closing(daemon.connect()) as other:
        listed = {task.id: task.input for task in other.get_session(session.id).list_tasks()}
        assert [listed[task.id] for task in made] == [task.input for task in made]
        assert b"first" not in listed.values()
    if not has_room:
        disk.free(daemon)
    assert at_work.result(DEADLINE_S) == b"through"
    for task in made:
        *_, last = session.watch_task(task.id, DEADLINE_S)
        assert (last.state, last.output) == (TaskState.SUCCEED, task.input)


def test_the_key_value_store_refuses_too_and_goes_on_with_room(disk: Disk, daemon: Daemon) -> None:
    with flux.Flux(daemon.uri) as handle:
        flux.kvs.put(handle, "before", "kept")
        flux.kvs.commit(handle)
        disk.fill(daemon)
        flux.kvs.put(handle, "big", "x" * 100_000)
        with pytest.raises(OSError, match="cannot be written"):
            flux.kvs.commit(handle)
        assert flux.kvs.get(handle, "before") == "kept"
        disk.free(daemon)
        flux.kvs.put(handle, "after", "taken")
        flux.kvs.commit(handle)
        assert flux.kvs.get(handle, "after") == "taken"
