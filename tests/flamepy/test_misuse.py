"""The misuse table (§1.7), row by row: the code that the last column gives, and the texts that §10 looks for.

Each row is done to a daemon on which there are an application `actor`, and sessions `open`, `busy` (a task
runs) and `closed`. Rows about what is no misuse after all are at the end.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes, SessionState, TaskState
from flamepy.core import ConnectionInstance
from tests.conftest import DEADLINE_S, FAULT_S, NOTHING, Daemon, Gate, act, expect_refusal, new_place, register_actor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEC = SessionAttributes("actor", max_instances=5, resreq=NOTHING)


class Scene(NamedTuple):
    """What there is to misuse."""

    client: flamepy.Connection
    open: flamepy.Session
    busy: flamepy.Session
    closed: flamepy.Session
    """As its client knows it that has not heard of the end."""
    lost: flamepy.Session
    """Its instance has forgotten it."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    gate = Gate(tmp_path_factory.mktemp("gate"))
    with new_place() as place:
        daemon = Daemon(place)
        with contextlib.closing(daemon.connect()) as client, contextlib.closing(daemon.connect()) as other:
            register_actor(client)
            session = client.open_session("open", SPEC)
            session.invoke(b"one task")
            busy = client.open_session("busy", SPEC)
            busy.run(gate.task)
            gate.wait_until_reached()
            closed = client.open_session("closed", SPEC)
            other.close_session("closed")
            lost = client.open_session("lost", SPEC)
            other.close_session("lost")
            other.delete_session("lost")
            yield Scene(client, session, busy, closed, lost)
            gate.open()
            busy.close(drain=True)
            session.close()
        daemon.stop()


INVALID_ARGUMENT, INVALID_STATE = FlameErrorCode.INVALID_ARGUMENT, FlameErrorCode.INVALID_STATE
NOT_FOUND, ALREADY_EXISTS = FlameErrorCode.NOT_FOUND, FlameErrorCode.ALREADY_EXISTS

WRONG: Any = b"actor"

ROWS: dict[str, tuple[Callable[[Scene], object], FlameErrorCode, str]] = {
    "create_session: common data not bytes": (
        lambda on: on.client.create_session(SessionAttributes("actor", common_data="text")),  # type: ignore[arg-type]  # the misuse
        INVALID_ARGUMENT,
        "common_data must be bytes",
    ),
    "create_session: unknown application": (
        lambda on: on.client.create_session(SessionAttributes("ghost")),
        NOT_FOUND,
        "application 'ghost' not found",
    ),
    "create_session: id exists": (
        lambda on: on.client.create_session(SessionAttributes("actor", id="open")),
        ALREADY_EXISTS,
        "'open' already exists",
    ),
    "create_session: id of a closed session": (
        lambda on: on.client.create_session(SessionAttributes("actor", id="closed")),
        ALREADY_EXISTS,
        "'closed' already exists",
    ),
    "open_session: unknown id, no spec": (lambda on: on.client.open_session("ghost"), NOT_FOUND, "not found"),
    "open_session: open, spec differs": (
        lambda on: on.client.open_session("open", SessionAttributes("actor", max_instances=10, resreq=NOTHING)),
        INVALID_ARGUMENT,
        "spec mismatch: max_instances is 5, asked for 10",
    ),
    "open_session: open, priority differs": (
        lambda on: on.client.open_session("open", SessionAttributes("actor", None, None, 0, 5, 1, NOTHING, 7)),
        INVALID_ARGUMENT,
        "spec mismatch: priority is 0, asked for 7",
    ),
    "open_session: closed": (lambda on: on.client.open_session("closed"), INVALID_ARGUMENT, "not open"),
    "open_session: closed, spec": (lambda on: on.client.open_session("closed", SPEC), INVALID_ARGUMENT, "not open"),
    "get_session: unknown id": (lambda on: on.client.get_session("ghost"), NOT_FOUND, "session 'ghost' not found"),
    "close_session: unknown id": (lambda on: on.client.close_session("ghost"), NOT_FOUND, "session 'ghost' not found"),
    "Session.close: unknown id": (lambda on: on.lost.close(), NOT_FOUND, "session 'lost' not found"),
    "close_session: a task is Running": (
        lambda on: on.client.close_session("busy"),
        INVALID_STATE,
        "Cannot close session with running tasks",
    ),
    "delete_session: unknown id": (lambda on: on.client.delete_session("ghost"), NOT_FOUND, "'ghost' not found"),
    "delete_session: open": (lambda on: on.client.delete_session("open"), INVALID_STATE, "is open; close it first"),
    **{
        f"{name}: input not bytes": (use, INVALID_ARGUMENT, "must be bytes, got str")
        for name, use in {
            "create_task": lambda on: on.open.create_task("text"),
            "run": lambda on: on.open.run("text"),
            "invoke": lambda on: on.open.invoke("text"),
        }.items()
    },
    **{
        f"{name}: closed session": (use, INVALID_STATE, "is closed")
        for name, use in {
            "create_task": lambda on: on.closed.create_task(b"x"),
            "run": lambda on: on.client.get_session("closed").run(b"x").result(FAULT_S),
            "invoke": lambda on: on.client.get_session("closed").invoke(b"x"),
        }.items()
    },
    **{
        f"{name}: unknown session": (use, NOT_FOUND, "session 'lost' not found")
        for name, use in {
            "create_task": lambda on: on.lost.create_task(b"x"),
            "run": lambda on: on.lost.run(b"x").result(FAULT_S),
            "invoke": lambda on: on.lost.invoke(b"x"),
            "get_task": lambda on: on.lost.get_task("1"),
            "watch_task": lambda on: next(on.lost.watch_task("1", FAULT_S)),
            "list_tasks": lambda on: next(on.lost.list_tasks()),
            "cancel_task": lambda on: on.lost.cancel_task("1"),
        }.items()
    },
    **{
        f"{name}: unknown task": (use, NOT_FOUND, "task 99 not found")
        for name, use in {
            "get_task": lambda on: on.open.get_task("99"),
            "watch_task": lambda on: next(on.open.watch_task("99", FAULT_S)),
            "cancel_task": lambda on: on.open.cancel_task("99"),
        }.items()
    },
    **{
        f"{name}: non-integer id": (use, INVALID_ARGUMENT, "is not a number")
        for name, use in {
            "get_task": lambda on: on.open.get_task("one"),
            "get_task (None)": lambda on: on.open.get_task(None),
            "watch_task": lambda on: on.open.watch_task("one"),
            "cancel_task": lambda on: on.open.cancel_task("one"),
        }.items()
    },
    **{
        f"{name}: options out of bounds": (use, INVALID_ARGUMENT, text)
        for name, use, text in (
            ("run, timeout 0", lambda on: on.open.run(b"x", timeout=0), "timeout is 0"),
            ("run, no number", lambda on: on.open.run(b"x", timeout="1"), "timeout is '1'"),
            ("invoke, negative", lambda on: on.open.invoke(b"x", max_retries=-1), "max_retries is -1"),
            ("create_task, half", lambda on: on.open.create_task(b"x", max_retries=1.5), "max_retries is 1.5"),
            ("session, timeout", lambda on: _create(on, timeout=-1.0), "timeout is -1.0 s"),
            ("session, retries", lambda on: _create(on, max_retries=-1), "max_retries is -1"),
            ("session, priority", lambda on: _create(on, priority=-1), "priority is -1"),
            ("session, instances", lambda on: _create(on, min_instances=3, max_instances=2), "over max_instances 2"),
        )
    },
    **{
        f"{name}: a value of the wrong kind": (use, INVALID_ARGUMENT, text)
        for name, use, text in (
            ("get_session, bytes", lambda on: on.client.get_session(b"open"), "Expected `str`, got `bytes`"),
            ("get_session, object", lambda on: on.client.get_session(object()), "flame.session.get: "),
            ("get_session, no text", lambda on: on.client.get_session("\ud800"), "is no UTF-8 text"),
            ("create_session, no attributes", lambda on: on.client.create_session("actor"), "got str"),
            ("open_session, no spec", lambda on: on.client.open_session("new", {}), "got dict"),
            ("session, instances nan", lambda on: _create(on, max_instances=math.nan), "got `float`"),
            ("session, timeout nan", lambda on: _create(on, timeout=math.nan), "timeout is nan"),
            ("session, timeout inf", lambda on: _create(on, timeout=math.inf), "timeout is inf"),
            ("session, application", lambda on: on.client.create_session(SessionAttributes(WRONG)), "got `bytes`"),
            ("register_application, nan", lambda on: _register(on, command=math.nan), "got `float`"),
            ("register_application, bytes", lambda on: _register(on, command=b"python3"), "got `bytes`"),
            ("run, timeout True", lambda on: on.open.run(b"x", timeout=True), "timeout is True"),
            ("run, retries True", lambda on: on.open.run(b"x", max_retries=True), "max_retries is True"),
            ("get_task, half", lambda on: on.open.get_task(1.5), "task id 1.5 is not a number"),
            ("get_task, endless", lambda on: on.open.get_task(math.inf), "task id inf is not a number"),
            ("get_task, bool", lambda on: on.open.get_task(True), "task id True is not a number"),
            ("watch_task, timeout nan", lambda on: on.open.watch_task("1", math.nan), "timeout is nan"),
            ("watch_task, timeout -1", lambda on: on.open.watch_task("1", -1), "timeout is -1"),
            ("watch_task, timeout text", lambda on: on.open.watch_task("1", "1"), "timeout is '1'"),
            ("logs, nan", lambda on: on.open.logs(math.nan), "got `float`"),
        )
    },
    **{
        f"{name}: more than anything holds": (use, INVALID_ARGUMENT, text)
        for name, use, text in (
            ("run, retries", lambda on: on.open.run(b"x", max_retries=1 << 64), "max_retries is 18446744073709551616"),
            ("run, timeout", lambda on: on.open.run(b"x", timeout=1e300), "timeout is 1e+300"),
            ("session, min_instances", lambda on: _create(on, min_instances=1 << 64), "at most"),
            ("session, max_instances", lambda on: _create(on, max_instances=1 << 64), "at most"),
            ("session, batch_size", lambda on: _create(on, batch_size=1 << 64), "batch_size is"),
            ("session, retries", lambda on: _create(on, max_retries=1 << 64), "max_retries is"),
            ("session, timeout", lambda on: _create(on, timeout=1e300), "timeout is 1e+300"),
            ("session, resreq", lambda on: _create(on, resreq=flamepy.ResourceRequirement(memory=1 << 64)), "resreq"),
            ("application, max_instances", lambda on: _register(on, max_instances=1 << 64), "max_instances is"),
            ("application, delay_release", lambda on: _register(on, delay_release=1 << 64), "delay_release is"),
        )
    },
    **{
        f"register_application: {name}": (use, INVALID_ARGUMENT, text)
        for name, use, text in (
            ("NUL in the command", lambda on: _register(on, command="a\0b"), "command has a NUL"),
            ("NUL in an argument", lambda on: _register(on, arguments=["a", "\0"]), "arguments has a NUL"),
            ("NUL in a variable", lambda on: _register(on, environments={"A": "\0"}), "environments has a NUL"),
            ("NUL in a folder", lambda on: _register(on, working_directory="/\0"), "working_directory has a NUL"),
            ("NUL in the url", lambda on: _register(on, url="file:///\0"), "url has a NUL"),
            ("a variable without a name", lambda on: _register(on, environments={"": "x"}), "environments has ''"),
            ("a variable with =", lambda on: _register(on, environments={"A=B": "x"}), "environments has 'A=B'"),
        )
    },
    "register_application: bad name": (
        lambda on: on.client.register_application("a/b", {}),
        INVALID_ARGUMENT,
        "is not allowed",
    ),
    "register_application: duplicate": (
        lambda on: on.client.register_application("actor", {}),
        ALREADY_EXISTS,
        "'actor' is already registered",
    ),
    "register_application: schema is no JSON": (
        lambda on: on.client.register_application("new", {"schema": {"input": "{"}}),
        INVALID_ARGUMENT,
        "schema.input is not JSON",
    ),
    "register_application: schema is no JSON Schema": (
        lambda on: on.client.register_application("new", {"schema": {"output": '{"type": "strin"}'}}),
        INVALID_ARGUMENT,
        "schema.output is no JSON Schema: 'type' is not",
    ),
    "register_application: relative working directory": (
        lambda on: on.client.register_application("new", {"working_directory": "x"}),
        INVALID_ARGUMENT,
        "'x' is not an absolute path",
    ),
    "update_application: unknown": (
        lambda on: on.client.update_application("ghost", {}),
        NOT_FOUND,
        "application 'ghost' not found",
    ),
    "update_application: open sessions exist": (
        lambda on: on.client.update_application("actor", {}),
        INVALID_STATE,
        "'actor' has open sessions (open, busy)",
    ),
    "update_application: bad attribute": (
        lambda on: on.client.update_application("flmping", {"working_directory": "x"}),
        INVALID_ARGUMENT,
        "'x' is not an absolute path",
    ),
    "unregister_application: open sessions exist": (
        lambda on: on.client.unregister_application("actor"),
        INVALID_STATE,
        "'actor' has open sessions (open, busy)",
    ),
    "unregister_application: unknown": (
        lambda on: on.client.unregister_application("ghost"),
        NOT_FOUND,
        "application 'ghost' not found",
    ),
    "Future of run: task failed": (
        lambda on: on.open.run(act("fail", "the service's text")).result(DEADLINE_S),
        FlameErrorCode.INTERNAL,
        "ValueError: the service's text",
    ),
    "Future of invoke: task failed": (
        lambda on: on.open.invoke(act("fail", "the service's text")),
        FlameErrorCode.INTERNAL,
        "ValueError: the service's text",
    ),
}


def _create(on: Scene, **attributes: Any) -> flamepy.Session:
    return on.client.create_session(SessionAttributes("actor", **attributes))


def _register(on: Scene, **attributes: Any) -> None:
    on.client.register_application("new", attributes)


@pytest.mark.parametrize("row", ROWS)
def test_misuse_is_refused_with_the_right_code_and_text(scene: Scene, row: str) -> None:
    use, code, text = ROWS[row]
    with expect_refusal(code, text):
        use(scene)


# -- connecting


@pytest.mark.parametrize("address", ["", "no-scheme", "invalid://x", "local:///nowhere/local-0", "local://\0", 7, b"x"])
def test_an_address_that_is_empty_malformed_or_unreachable_is_invalid_config(address: Any) -> None:
    with expect_refusal(FlameErrorCode.INVALID_CONFIG):
        flamepy.connect(address)


@pytest.mark.parametrize("text", ["contexts: []", "{current-context: a, contexts: [{name: b}]}"])
def test_a_default_connection_without_its_context_is_invalid_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FLAME_ENDPOINT", raising=False)
    monkeypatch.setattr(ConnectionInstance, "_connection", None)
    (tmp_path / ".flame").mkdir()
    (tmp_path / ".flame" / "flame.yaml").write_text(text)
    with expect_refusal(FlameErrorCode.INVALID_CONFIG, "current-context"):
        flamepy.list_sessions()


# -- what is no misuse


def test_an_unknown_id_with_a_spec_is_created(scene: Scene) -> None:
    with scene.client.open_session("made", SPEC) as session:
        assert (session.id, session.state) == ("made", SessionState.OPEN)


def test_closing_a_closed_session_is_fine(scene: Scene) -> None:
    assert scene.client.close_session("closed").state is SessionState.CLOSED
    scene.closed.close()


def test_an_unknown_application_is_none(scene: Scene) -> None:
    assert scene.client.get_application("ghost") is None


def test_an_unknown_key_of_an_application_is_a_type_error(scene: Scene) -> None:
    for use in (scene.client.register_application, scene.client.update_application):
        with pytest.raises(TypeError, match="comand"):
            use("flmping", {"comand": "python3"})


def test_a_task_cancelled_by_a_close_is_told_and_shown(scene: Scene) -> None:
    scene.client.register_application("never", {"shim": flamepy.Shim.WASM})
    session = scene.client.create_session(SessionAttributes("never"))
    future = session.run(b"x")
    session.close()
    with expect_refusal(INVALID_STATE, "cancelled"):
        future.result(FAULT_S)
    assert session.get_task("1").state is TaskState.CANCELLED
    assert [task.state for task in session.list_tasks()] == [TaskState.CANCELLED]
    scene.client.unregister_application("never")


def test_a_task_watched_without_end_is_watched_to_its_end(scene: Scene) -> None:
    assert [task.state for task in scene.open.watch_task("1", math.inf)] == [TaskState.SUCCEED]


def test_a_thread_that_has_the_number_of_one_that_ended_may_still_ask(scene: Scene) -> None:
    """The system gives a new thread the number of the connection's own when that has ended."""
    client = flamepy.connect(scene.client.addr)
    client.close()
    told: list[FlameErrorCode] = []

    def ask() -> None:
        with pytest.raises(flamepy.FlameError) as refusal:
            client.list_sessions()
        told.append(refusal.value.code)

    for _ in range(20):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(DEADLINE_S)
    assert set(told) == {FlameErrorCode.INTERNAL}


def test_a_map_with_a_window_that_is_no_whole_number_is_a_type_error(scene: Scene) -> None:
    windows: list[Any] = [1.5, math.nan, "8", None]
    for window in windows:
        with pytest.raises(TypeError, match="in_flight"):
            scene.open.map([b"x"], in_flight=window)


def test_a_message_over_four_mebibytes_travels(scene: Scene) -> None:
    data = bytes(5 << 20)
    assert scene.open.invoke(data) == data
