"""Closing sessions plainly, when they are done, or by force; deleting them; updating applications."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, SessionState, TaskState
from flamepy.protocol import ListSessions, SessionList
from tests.conftest import DEADLINE_S, FAULT_S, Daemon, act, expect_refusal, register_actor, wait_until

if TYPE_CHECKING:
    from tests.conftest import Gate, NewSession, Place


def is_closing(session: flamepy.Session) -> bool:
    listed = session.connection.link.ask("flame.session.list", ListSessions(common_data=False), SessionList)
    return next(info.closing for info in listed.sessions if info.session == session.id)


# -- drain


def test_draining_returns_when_everything_is_done_and_the_session_closed(session: flamepy.Session, gate: Gate) -> None:
    futures = [session.run(gate.task), *(session.run(b"%d" % number) for number in range(50))]
    gate.wait_until_reached()
    with ThreadPoolExecutor(1) as thread:
        closing = thread.submit(session.close, drain=True)
        wait_until(lambda: is_closing(session), "it is closing")
        assert not closing.done()
        gate.open()
        closing.result(DEADLINE_S)
    assert [future.result(FAULT_S) for future in futures] == [b"through", *(b"%d" % number for number in range(50))]
    now = session.connection.get_session(session.id)
    assert (now.state, now.succeed, now.cancelled) == (SessionState.CLOSED, 51, 0)
    assert not is_closing(session)


def test_a_session_that_is_closing_refuses_tasks_however_they_come(session: flamepy.Session, gate: Gate) -> None:
    running = session.run(gate.task)
    gate.wait_until_reached()
    with ThreadPoolExecutor(1) as thread:
        closing = thread.submit(session.close, drain=True)
        wait_until(lambda: is_closing(session), "it is closing")
        with expect_refusal(FlameErrorCode.INVALID_STATE, session.id, "is closing"):
            session.create_task(b"x")
        with expect_refusal(FlameErrorCode.INVALID_STATE, session.id, "is closing"):
            session.run(b"x").result(FAULT_S)
        gate.open()
        closing.result(DEADLINE_S)
    assert running.result(FAULT_S) == b"through"


def test_everyone_who_drains_a_session_is_answered(shared_daemon: Daemon, session: flamepy.Session, gate: Gate) -> None:
    session.run(gate.task)
    gate.wait_until_reached()
    with contextlib.closing(shared_daemon.connect()) as other, ThreadPoolExecutor(4) as threads:
        connections = [session.connection, other] * 2
        closing = [threads.submit(each.close_session, session.id, drain=True) for each in connections]
        wait_until(lambda: is_closing(session), "it is closing")
        gate.open()
        closed = [each.result(DEADLINE_S) for each in closing]
    assert {(each.state, each.succeed) for each in closed} == {(SessionState.CLOSED, 1)}


def test_a_drain_whose_client_has_left_goes_on(shared_daemon: Daemon, session: flamepy.Session, gate: Gate) -> None:
    session.run(gate.task)
    gate.wait_until_reached()
    other = shared_daemon.connect()
    closing = threading.Thread(target=_drain, args=(other, session.id))
    closing.start()
    wait_until(lambda: is_closing(session), "it is closing")
    other.close()
    closing.join(DEADLINE_S)
    gate.open()
    wait_until(lambda: session.connection.get_session(session.id).state is SessionState.CLOSED, "it is closed")
    assert session.connection.get_session(session.id).succeed == 1


def _drain(connection: flamepy.Connection, session_id: str) -> None:
    with contextlib.suppress(flamepy.FlameError):  # the connection is closed meanwhile
        connection.close_session(session_id, drain=True)


def test_a_session_that_is_closing_may_be_closed_by_force(session: flamepy.Session, gate: Gate) -> None:
    session.run(gate.task)
    gate.wait_until_reached()
    with ThreadPoolExecutor(1) as thread:
        closing = thread.submit(session.close, drain=True)
        wait_until(lambda: is_closing(session), "it is closing")
        with expect_refusal(FlameErrorCode.INVALID_STATE, "Cannot close session with running tasks"):
            session.close()
        session.close(force=True)
        closing.result(FAULT_S)
    assert session.connection.get_session(session.id).cancelled == 1


# -- force


def test_force_cancels_everything_at_once(session: flamepy.Session, gate: Gate) -> None:
    futures = [session.run(gate.task), session.run(b"x")]
    gate.wait_until_reached()
    session.close(force=True)
    for future in futures:
        with expect_refusal(FlameErrorCode.INVALID_STATE, "cancelled: its session was closed"):
            future.result(FAULT_S)
    now = session.connection.get_session(session.id)
    assert (now.state, now.cancelled, now.running, now.pending) == (SessionState.CLOSED, 2, 0, 0)
    assert {task.state for task in session.list_tasks()} == {TaskState.CANCELLED}
    session.close(force=True)


def test_drain_and_force_together_are_refused(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "not with both"):
        session.close(drain=True, force=True)
    assert session.connection.get_session(session.id).state is SessionState.OPEN


def test_the_module_s_helpers_take_the_same(monkeypatch: pytest.MonkeyPatch, own_daemon: Daemon) -> None:
    monkeypatch.setattr(flamepy.core.ConnectionInstance, "_connection", None)
    monkeypatch.setenv("FLAME_ENDPOINT", own_daemon.uri)
    flamepy.register_application("helped", {"command": "python3"})
    flamepy.update_application("helped", {"command": "python3", "description": "better"})
    application = flamepy.get_application("helped")
    assert application is not None
    assert application.description == "better"
    for options in ({"drain": True}, {"force": True}, {}):
        session = flamepy.create_session("helped")
        assert flamepy.close_session(session.id, **options).state is SessionState.CLOSED
        flamepy.delete_session(session.id)
        with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
            flamepy.get_session(session.id)
    flamepy.core.ConnectionInstance.instance().close()


# -- with


def test_a_block_that_ends_well_waits_for_its_tasks(client: flamepy.Connection) -> None:
    with client.create_session(SessionAttributes("actor", max_instances=1)) as session:
        futures = [session.run(b"%d" % number) for number in range(200)]
    assert [future.result(0) for future in futures] == [b"%d" % number for number in range(200)]
    now = client.get_session(session.id)
    assert (now.state, now.succeed) == (SessionState.CLOSED, 200)


def test_a_block_that_is_left_with_an_exception_cancels_them(client: flamepy.Connection, gate: Gate) -> None:
    def use() -> None:
        with client.create_session(SessionAttributes("actor", id="left", max_instances=1)) as session:
            session.run(gate.task)
            gate.wait_until_reached()
            raise ValueError("out of here")

    with pytest.raises(ValueError, match="out of here"):
        use()
    now = client.get_session("left")
    assert (now.state, now.cancelled) == (SessionState.CLOSED, 1)


def test_a_session_may_be_closed_and_deleted_within_its_block(client: flamepy.Connection) -> None:
    with client.create_session(SessionAttributes("actor")) as session:
        session.close()
        client.delete_session(session.id)


# -- delete


def test_a_deleted_session_is_gone_and_its_id_free(client: flamepy.Connection) -> None:
    for output in (b"first life", b"second life"):
        session = client.create_session(SessionAttributes("actor", id="again", max_instances=1))
        assert session.invoke(act("return", output.decode())) == output
        assert session.run(act("return", output.decode())).result(DEADLINE_S) == output
        session.close()
        client.delete_session("again")
        with expect_refusal(FlameErrorCode.NOT_FOUND, "again"):
            session.get_task("1")
        assert "again" not in [each.id for each in client.list_sessions()]


def test_an_open_session_is_not_deleted(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.INVALID_STATE, session.id, "is open; close it first"):
        session.connection.delete_session(session.id)
    assert session.invoke(b"x") == b"x"
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'missing' not found"):
        session.connection.delete_session("missing")


# -- list, and what it leaves out


def test_a_list_may_do_without_common_data(client: flamepy.Connection, new_session: NewSession) -> None:
    session = new_session(b"x" * 1000)

    def listed(request: ListSessions | None) -> bytes | None:
        sessions = client.link.ask("flame.session.list", request, SessionList).sessions
        return next(info.spec.common_data for info in sessions if info.session == session.id)

    assert listed(None) == listed(ListSessions()) == b"x" * 1000
    assert listed(ListSessions(common_data=False)) is None
    assert client.get_session(session.id).common_data() == b"x" * 1000


# -- updating applications


def test_an_update_takes_the_place_of_all_attributes(client: flamepy.Connection) -> None:
    client.register_application("updated", {"command": "old", "labels": ["a"], "url": "file:///x"})
    before = client.get_application("updated")
    client.update_application("updated", flamepy.ApplicationAttributes(command="new"))
    after = client.get_application("updated")
    client.unregister_application("updated")
    assert before is not None
    assert after is not None
    assert (after.command, after.labels, after.url) == ("new", None, None)
    assert after.creation_time == before.creation_time


def test_the_next_session_is_made_of_the_update(client: flamepy.Connection) -> None:
    register_actor(client, "renewed")
    client.update_application("renewed", {"command": "no-such-command"})
    with (
        client.create_session(SessionAttributes("renewed")) as session,
        expect_refusal(FlameErrorCode.INTERNAL, "no-such-command"),
    ):
        session.invoke(b"x")
    client.unregister_application("renewed")


# -- retention


def test_beyond_a_configured_number_the_session_closed_first_is_forgotten(place: Place) -> None:
    configuration = place.folder / "flame.toml"
    configuration.write_text("[cluster]\nlimits.max_sessions = 2\n")
    daemon = Daemon(place, "--config", str(configuration))
    with contextlib.closing(daemon.connect()) as client:
        for name in ("a", "b"):
            client.create_session(SessionAttributes("flmping", id=name))
        with expect_refusal(FlameErrorCode.INVALID_STATE, "2 open sessions, and max_sessions is 2; close one first"):
            client.create_session(SessionAttributes("flmping", id="c"))
        client.close_session("b")
        client.close_session("a")
        client.create_session(SessionAttributes("flmping", id="c"))
        assert [each.id for each in client.list_sessions()] == ["a", "c"]
        with expect_refusal(FlameErrorCode.NOT_FOUND, "session 'b' not found"):
            client.get_session("b")
    daemon.stop()
