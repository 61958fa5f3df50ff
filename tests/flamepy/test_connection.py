"""Connecting, applications, and the sessions of a connection; after §10.1, §10.3 and the misuse table (§1.7)."""

from __future__ import annotations

import contextlib
import datetime
import gc
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import flamepy
from flamepy import (
    ApplicationAttributes,
    ApplicationSchema,
    ApplicationState,
    FlameErrorCode,
    ResourceRequirement,
    SessionAttributes,
    SessionState,
    Shim,
)
from flamepy.core import FlameClientTls
from flamepy.core.results import ResultStream
from tests.conftest import NOTHING, act, expect_refusal, register_actor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Daemon, NewSession


# -- connecting


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("", "address cannot be empty"),
        ("invalid://address", "scheme 'invalid' is not served"),
        ("no-scheme", "is not served"),
        ("local://", "no instance answers at local://"),
        ("local:///nowhere/local-0", "start one: hearth up"),
        ("local:///" + "x" * 200, "no instance answers"),
    ],
)
def test_an_address_where_nobody_is_is_refused(address: str, text: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_CONFIG, text):
        flamepy.connect(address)


def test_a_local_socket_takes_no_tls(shared_daemon: Daemon) -> None:
    with expect_refusal(FlameErrorCode.INVALID_CONFIG, "takes no TLS"):
        flamepy.connect(shared_daemon.uri, FlameClientTls())


def test_a_peer_that_hangs_up_at_once_is_no_instance(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        host = threading.Thread(target=lambda: listener.accept()[0].close())
        host.start()
        with expect_refusal(FlameErrorCode.INVALID_CONFIG, "no instance answers"):
            flamepy.connect(f"local://{tmp_path / 'socket'}")
        host.join()


def test_everything_on_a_closed_connection_is_refused(shared_daemon: Daemon) -> None:
    connection = shared_daemon.connect()
    session = connection.create_session(SessionAttributes("actor", max_instances=1, resreq=NOTHING))
    waiting = session.run(b"x")
    connection.close()
    connection.close()
    with contextlib.suppress(flamepy.FlameError):
        waiting.result(5)
    for use in (connection.list_sessions, lambda: session.run(b"x"), lambda: session.invoke(b"x"), session.close):
        with expect_refusal(FlameErrorCode.INTERNAL, shared_daemon.uri, "is lost: the connection was closed"):
            use()


# -- applications


def test_an_application_needs_nothing_but_a_name(client: flamepy.Connection) -> None:
    client.register_application("bare", ApplicationAttributes())
    application = client.get_application("bare")
    assert application is not None
    assert (application.id, application.name, application.state) == ("bare", "bare", ApplicationState.ENABLED)
    assert application.shim is Shim.HOST
    assert application.url is None
    assert application.schema is None
    assert datetime.datetime.now(datetime.timezone.utc) - application.creation_time < datetime.timedelta(minutes=1)
    client.unregister_application("bare")
    assert client.get_application("bare") is None


def test_everything_about_an_application_comes_back(client: flamepy.Connection) -> None:
    attributes: dict[str, Any] = {
        "shim": Shim.HOST,
        "image": "image:1",
        "description": "All of it, naïvely",
        "labels": ["a", "b"],
        "command": "python3",
        "arguments": ["-m", "x y"],
        "environments": {"A": "1", "B": ""},
        "working_directory": "/tmp",
        "max_instances": 7,
        "delay_release": 30,
        "schema": ApplicationSchema(input='{"type": "object"}', output="true", common_data=None),
        "url": "grpc://somewhere/package.tar.gz",
        "installer": "python",
    }
    client.register_application("full", ApplicationAttributes(**attributes))
    application = client.get_application("full")
    client.unregister_application("full")
    assert application is not None
    assert {name: getattr(application, name) for name in attributes} == attributes


def test_a_mapping_does_for_attributes(client: flamepy.Connection) -> None:
    client.register_application("mapped", {"command": "python3", "schema": {"input": "{}"}})
    application = client.get_application("mapped")
    client.unregister_application("mapped")
    assert application is not None
    assert (application.command, application.schema) == ("python3", ApplicationSchema(input="{}"))


def test_applications_are_listed_by_name_with_the_built_in_ones(own_client: flamepy.Connection) -> None:
    own_client.register_application("a-first", {})
    listed = own_client.list_applications()
    assert [application.name for application in listed] == ["a-first", "actor", "flmexec", "flmping", "flmrun"]
    assert {application.state for application in listed} == {ApplicationState.ENABLED}


def test_an_unknown_attribute_is_a_type_error(client: flamepy.Connection) -> None:
    with pytest.raises(TypeError, match="comand"):
        client.register_application("misspelt", {"comand": "python3"})


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", ".a", "-a", "a..b", "a b", "ä", "a" * 254, "a\n"])
def test_a_name_out_of_bounds_is_refused(client: flamepy.Connection, name: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "application name", "is not allowed"):
        client.register_application(name, {})


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "0", "a" * 253, "_x"])
def test_a_name_within_bounds_is_taken(client: flamepy.Connection, name: str) -> None:
    client.register_application(name, {})
    assert client.get_application(name) is not None
    client.unregister_application(name)


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"working_directory": "relative"}, "'relative' is not an absolute path"),
        ({"schema": {"input": "{"}}, "schema.input is not JSON"),
        ({"schema": {"output": "[]"}}, "schema.output is no JSON Schema"),
        ({"max_instances": -1}, "max_instances is -1"),
        ({"delay_release": -1}, "delay_release is -1"),
        ({"arguments": "-m x"}, "arguments"),
        ({"environments": {"A": 1}}, "environments"),
    ],
)
def test_an_attribute_out_of_bounds_is_refused(client: flamepy.Connection, attributes: Any, text: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, text):
        client.register_application("wrong", attributes)
    assert client.get_application("wrong") is None


def test_a_name_in_use_is_refused(client: flamepy.Connection) -> None:
    with expect_refusal(FlameErrorCode.ALREADY_EXISTS, "'actor' is already registered"):
        client.register_application("actor", {})


def test_an_application_in_use_stays(client: flamepy.Connection) -> None:
    register_actor(client, "in-use")
    session = client.create_session(SessionAttributes("in-use"))
    with expect_refusal(FlameErrorCode.INVALID_STATE, "has open sessions", session.id):
        client.unregister_application("in-use")
    session.close()
    client.unregister_application("in-use")
    with expect_refusal(FlameErrorCode.NOT_FOUND, session.id):
        client.get_session(session.id)


def test_an_unknown_application_cannot_be_unregistered(client: flamepy.Connection) -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'nothing' not found"):
        client.unregister_application("nothing")


# -- sessions


def test_a_session_keeps_its_id_is_open_then_closed(client: flamepy.Connection) -> None:
    session = client.create_session(SessionAttributes("actor", id="my own id"))
    assert (session.id, session.application, session.state) == ("my own id", "actor", SessionState.OPEN)
    assert session.completion_time is None
    got = client.get_session("my own id")
    assert (got.id, got.application, got.state) == ("my own id", "actor", SessionState.OPEN)
    assert client.close_session("my own id").state is SessionState.CLOSED
    assert {one.id: one.state for one in client.list_sessions()}["my own id"] is SessionState.CLOSED


def test_a_session_without_an_id_gets_one_from_its_application(session: flamepy.Session) -> None:
    prefix, _, rest = session.id.rpartition("-")
    assert (prefix, len(rest)) == ("actor", 6)


def test_a_new_session_has_done_nothing(session: flamepy.Session) -> None:
    counters = (session.pending, session.running, session.succeed, session.failed, session.cancelled)
    assert counters == (0, 0, 0, 0, 0)
    assert session.events == []
    assert session.common_data() is None
    assert session.creation_time.tzinfo is datetime.timezone.utc
    assert repr(session) == f"<Session {session.id!r} of 'actor', OPEN>"


def test_closing_again_changes_nothing(client: flamepy.Connection) -> None:
    session = client.create_session(SessionAttributes("actor"))
    session.close()
    first = client.get_session(session.id).completion_time
    session.close()
    assert client.close_session(session.id).completion_time == first


def test_sessions_are_listed_oldest_first_whatever_their_state(client: flamepy.Connection) -> None:
    made = [client.create_session(SessionAttributes("actor")).id for _ in range(3)]
    client.close_session(made[1])
    listed = [session for session in client.list_sessions() if session.id in made]
    assert [session.id for session in listed] == made
    assert [session.state for session in listed] == [SessionState.OPEN, SessionState.CLOSED, SessionState.OPEN]
    for session_id in made:
        client.close_session(session_id)


@pytest.mark.parametrize(
    "attributes",
    [
        {"resreq": ResourceRequirement(1, 512, 0)},
        {"min_instances": 0, "max_instances": 5},
        {"batch_size": 2, "min_instances": 2},
        {"min_instances": 1, "resreq": ResourceRequirement.from_string("cpu=1,mem=1g")},
    ],
)
def test_a_task_runs_whatever_the_session_asks_for(client: flamepy.Connection, attributes: dict[str, Any]) -> None:
    session = client.create_session(SessionAttributes("actor", **attributes))
    assert session.invoke(b"x") == b"x"
    session.close()


def test_opening_gives_the_same_session_with_and_without_a_spec(client: flamepy.Connection) -> None:
    spec = SessionAttributes("actor", id="ignored", max_instances=5)
    made = client.open_session("opened", spec)
    assert (made.id, made.state) == ("opened", SessionState.OPEN)
    again = [client.open_session("opened", spec), client.open_session("opened")]
    assert {(session.id, session.creation_time) for session in again} == {("opened", made.creation_time)}
    made.close()


def test_opening_keeps_the_first_common_data(client: flamepy.Connection) -> None:
    with_data = client.open_session("with data", SessionAttributes("actor", common_data=b"first"))
    other = client.open_session("with data", SessionAttributes("actor", common_data=b"second", batch_size=3))
    assert other.common_data() == b"first"
    with_data.close()


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("application", {"application": "flmping"}),
        ("resreq", {"resreq": ResourceRequirement(2, 1 << 30, 0)}),
        ("min_instances", {"min_instances": 1}),
        ("max_instances", {"max_instances": 6}),
    ],
)
def test_opening_with_another_spec_is_refused_with_the_field(
    client: flamepy.Connection, field: str, other: dict[str, Any]
) -> None:
    spec: dict[str, Any] = {"application": "actor", "max_instances": 5}
    session = client.create_session(SessionAttributes(**spec))
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "spec mismatch", field):
        client.open_session(session.id, SessionAttributes(**(spec | other)))
    session.close()


def test_the_default_resources_may_be_spelt_out(client: flamepy.Connection) -> None:
    session = client.open_session("spelt out", SessionAttributes("actor"))
    same = client.open_session("spelt out", SessionAttributes("actor", resreq=ResourceRequirement(1, 1 << 30, 0)))
    assert same.creation_time == session.creation_time
    session.close()


def test_opening_what_is_not_there_needs_a_spec(client: flamepy.Connection) -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "'missing' not found"):
        client.open_session("missing")


def test_a_closed_session_never_reopens(client: flamepy.Connection) -> None:
    client.create_session(SessionAttributes("actor", id="over")).close()
    for spec in (None, SessionAttributes("actor")):
        with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "not open"):
            client.open_session("over", spec)


def test_an_id_in_use_is_refused(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.ALREADY_EXISTS, session.id, "already exists"):
        session.connection.create_session(SessionAttributes("actor", id=session.id))


def test_an_unknown_application_has_no_sessions(client: flamepy.Connection) -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "application 'nothing' not found"):
        client.create_session(SessionAttributes("nothing"))


@pytest.mark.parametrize("use", [flamepy.Connection.get_session, flamepy.Connection.close_session])
def test_an_unknown_session_is_not_found(
    client: flamepy.Connection, use: Callable[[flamepy.Connection, str], object]
) -> None:
    with expect_refusal(FlameErrorCode.NOT_FOUND, "session 'missing' not found"):
        use(client, "missing")


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"common_data": "text"}, "common_data must be bytes, got str"),
        ({"common_data": bytearray(b"x")}, "common_data must be bytes, got bytearray"),
        ({"id": ""}, "its id is empty"),
        ({"min_instances": -1}, "min_instances"),
        ({"max_instances": 0}, "max_instances"),
        ({"min_instances": 3, "max_instances": 2}, "min_instances 3 is over max_instances 2"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"resreq": ResourceRequirement(-1, 0, 0)}, "resreq has an amount below 0"),
        ({"max_instances": "2"}, "max_instances"),
        ({"application": None}, "application"),
        ({"resreq": "cpu=1"}, "resreq"),
        ({"id": 5}, "session"),
        ({"min_instances": 1.5}, "min_instances"),
    ],
)
def test_a_session_out_of_bounds_is_refused(client: flamepy.Connection, attributes: dict[str, Any], text: str) -> None:
    known = len(client.list_sessions())
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, text):
        client.create_session(SessionAttributes(**({"application": "actor"} | attributes)))
    assert len(client.list_sessions()) == known


def test_a_session_larger_than_the_machine_is_open_and_says_why_it_waits(client: flamepy.Connection) -> None:
    session = client.create_session(SessionAttributes("actor", resreq=ResourceRequirement(cpu=100_000)))
    assert client.get_session(session.id).state is SessionState.OPEN
    assert [event.code for event in session.events] == [1003]
    session.close()


def test_five_threads_make_five_sessions(client: flamepy.Connection) -> None:
    def use(number: int) -> bytes | None:
        session = client.create_session(SessionAttributes("actor"))
        try:
            return session.invoke(b"%d" % number)
        finally:
            session.close()

    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(use, range(5))) == [b"0", b"1", b"2", b"3", b"4"]


def test_three_open_sessions_of_one_application_all_answer(new_session: NewSession) -> None:
    sessions = [new_session() for _ in range(3)]
    assert [session.invoke(session.id.encode()) for session in sessions] == [one.id.encode() for one in sessions]


def test_a_session_id_can_be_used_again_after_its_application_went(own_daemon: Daemon) -> None:
    with contextlib.closing(own_daemon.connect()) as mine, contextlib.closing(own_daemon.connect()) as other:
        for output in (b"first life", b"second life"):
            register_actor(mine)
            session = mine.create_session(SessionAttributes("actor", id="reused", max_instances=1))
            assert other.open_session("reused").invoke(act("return", output.decode())) == output
            session.close()
            mine.unregister_application("actor")


def test_sessions_that_nobody_holds_are_not_kept_by_the_connection(client: flamepy.Connection) -> None:
    def streams() -> int:
        return sum(isinstance(thing, ResultStream) for thing in gc.get_objects())

    before = streams()
    for number in range(20):
        client.create_session(SessionAttributes("actor", id=f"passing {number}"))
        client.close_session(f"passing {number}")
    client.list_sessions()
    assert streams() <= before
