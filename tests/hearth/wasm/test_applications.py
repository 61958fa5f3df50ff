# SPDX-License-Identifier: Apache-2.0
"""Applications that are components, with a real daemon and real executors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import flamepy
from flamepy import FlameErrorCode
from tests.conftest import FAULT_S, Daemon, expect_refusal, wait_until
from tests.hearth.wasm.components import actor
from tests.hearth.wasm.conftest import register_component
from tests.hearth.wasm.visitor import visitor

if TYPE_CHECKING:
    from tests.hearth.wasm.conftest import NewSession


def test_a_component_does_tasks_one_after_another_in_one_instance(new_wasm_session: NewSession) -> None:
    session = new_wasm_session()
    assert (session.invoke(b"ehello"), session.invoke(b"n"), session.invoke(b"c")) == (b"hello", None, b"3")


def test_many_tasks_of_a_component_have_their_own_outputs(new_wasm_session: NewSession) -> None:
    session = new_wasm_session()
    futures = [session.run(b"e%d" % number) for number in range(500)]
    assert [future.result(FAULT_S) for future in futures] == [b"%d" % number for number in range(500)]


def test_the_error_of_a_component_is_the_text_of_its_task(new_wasm_session: NewSession) -> None:
    session = new_wasm_session()
    future = session.run(b"fno such row")
    error = future.exception(FAULT_S)
    assert isinstance(error, flamepy.FlameError)
    assert "no such row" in error.message
    assert "Traceback" not in error.message
    assert "service.py" not in error.message
    assert session.invoke(b"ex") == b"x"


def test_after_a_trap_and_an_endless_loop_the_session_goes_on(new_wasm_session: NewSession) -> None:
    session = new_wasm_session(common_data=b"common")
    texts = [str(session.run(task).exception(FAULT_S)) for task in (b"trap", b"loop")]
    assert "unreachable" in texts[0]
    assert "took longer than HEARTH_WASM_TIMEOUT, 0.5 s" in texts[1]
    assert (session.invoke(b"d"), session.invoke(b"c")) == (b"common", b"2")


def test_a_mebibyte_goes_there_and_back(new_wasm_session: NewSession) -> None:
    data = random.Random(7).randbytes(1 << 20)
    assert new_wasm_session().invoke(b"e" + data) == data


def test_two_sessions_have_instances_of_their_own(new_wasm_session: NewSession) -> None:
    one, other = new_wasm_session(common_data=b"1"), new_wasm_session(common_data=b"2")
    assert (one.invoke(b"d"), other.invoke(b"d"), one.invoke(b"c"), other.invoke(b"c")) == (b"1", b"2", b"2", b"2")


def test_a_component_that_refuses_the_session_is_told_in_its_events(new_wasm_session: NewSession) -> None:
    session = new_wasm_session(common_data=b"f: the model is too old")
    with expect_refusal(FlameErrorCode.INTERNAL, "the model is too old"):
        session.invoke(b"x")


def test_grants_come_from_the_application_and_output_goes_where_a_service_prints(
    wasm_daemon: Daemon, wasm_client: flamepy.Connection, new_wasm_session: NewSession
) -> None:
    folder = wasm_daemon.place.folder
    (folder / "data").mkdir()
    (folder / "data" / "file").write_text("its content")
    grants = {"HEARTH_WASM_DIRS": f"{folder}/data::/in", "HEARTH_WASM_ENV": "MODEL", "MODEL": "small"}
    register_component(wasm_client, "visitor", folder, visitor(), **grants)
    session = new_wasm_session("visitor")
    assert (session.invoke(b"rfile"), session.invoke(b"v")) == (b"its content", b"small")
    assert session.invoke(b"phello\n") is None


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(
    wasm_daemon: Daemon, wasm_client: flamepy.Connection, new_wasm_session: NewSession
) -> None:
    folder = wasm_daemon.place.folder
    register_component(wasm_client, "absent", folder, actor())
    (folder / "absent.wat").unlink()
    with expect_refusal(FlameErrorCode.INTERNAL, "component absent.wat: no such file in ", str(folder)):
        new_wasm_session("absent").invoke(b"x")


def test_a_setting_that_cannot_be_meant_is_told(
    wasm_daemon: Daemon, wasm_client: flamepy.Connection, new_wasm_session: NewSession
) -> None:
    register_component(wasm_client, "timeless", wasm_daemon.place.folder, actor(), HEARTH_WASM_TIMEOUT="long")
    with expect_refusal(FlameErrorCode.INTERNAL, "HEARTH_WASM_TIMEOUT is 'long', want seconds"):
        new_wasm_session("timeless").invoke(b"x")


def test_nothing_is_imported_from_the_folder_that_a_component_may_write(
    wasm_daemon: Daemon, wasm_client: flamepy.Connection, new_wasm_session: NewSession
) -> None:
    folder = wasm_daemon.place.folder / "trap"
    folder.mkdir()
    for name in ("flamepy", "wasmtime", "msgspec", "re"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the working folder')")
    register_component(wasm_client, "cuckoo", folder, actor())
    assert new_wasm_session("cuckoo").invoke(b"ex") == b"x"


def test_a_second_executor_finds_the_compiled_component(wasm_daemon: Daemon, new_wasm_session: NewSession) -> None:
    def compiled() -> set[Path]:
        cache = wasm_daemon.place.home / ".cache" / "wasmtime"
        return {path for path in cache.rglob("*") if path.is_file() and not path.suffix}

    new_wasm_session().invoke(b"ex")
    wait_until(compiled, "something compiled is in the cache")
    before = compiled()
    new_wasm_session().invoke(b"ex")
    assert compiled() == before


def test_the_daemon_does_not_load_wasmtime(wasm_daemon: Daemon, new_wasm_session: NewSession) -> None:
    new_wasm_session().invoke(b"ex")
    assert "wasmtime" not in Path(f"/proc/{wasm_daemon.process.pid}/maps").read_text()


def test_an_application_may_be_unregistered_when_its_sessions_are_closed(
    wasm_daemon: Daemon, wasm_client: flamepy.Connection
) -> None:
    register_component(wasm_client, "short", wasm_daemon.place.folder, actor())
    session = wasm_client.create_session(flamepy.SessionAttributes("short"))
    assert session.invoke(b"ex") == b"x"
    session.close()
    wasm_client.unregister_application("short")
