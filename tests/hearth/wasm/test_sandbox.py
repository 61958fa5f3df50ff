# SPDX-License-Identifier: Apache-2.0
"""What a component reaches outside itself: nothing, unless it was granted."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flamepy.core.service import ServiceFailure
from hearth.wasm.settings import Folder, Settings
from tests.conftest import DEADLINE_S, SOURCE
from tests.hearth.wasm.visitor import visitor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hearth.wasm.conftest import Load

ACCESS_DENIED, NO_ENTRY, NOT_PERMITTED = (b"refused by error " + code for code in (b"1", b"k", b"v"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a file in it, and one beside it."""
    folder = tmp_path / "granted"
    folder.mkdir()
    (folder / "file").write_text("its content")
    (tmp_path / "beside").write_text("not for you")
    return folder


def test_there_are_no_folders_and_no_variables_by_default(load: Load, folder: Path) -> None:
    loaded = load(visitor())
    assert {loaded.do(task) for task in (b"v", b"rfile", b"r" + bytes(folder / "file"), b"wnew")} == {b"nothing there"}


def test_a_granted_folder_may_be_read_and_nothing_beside_it(load: Load, folder: Path) -> None:
    loaded = load(visitor(), settings=Settings(folders=(Folder(str(folder), "/in", False),)))
    assert loaded.do(b"rfile") == b"its content"
    assert loaded.do(b"rabsent") == NO_ENTRY
    assert loaded.do(b"r../beside") == NOT_PERMITTED
    (folder / "link").symlink_to(folder.parent / "beside")
    assert loaded.do(b"rlink") != b"not for you"


def test_a_granted_folder_may_be_written_only_if_it_says_so(load: Load, folder: Path) -> None:
    for is_writable, answer in ((False, NOT_PERMITTED), (True, None)):
        loaded = load(visitor(), settings=Settings(folders=(Folder(str(folder), "/in", is_writable),)))
        assert loaded.do(b"wnew") == answer
        assert (folder / "new").exists() is is_writable


def test_a_folder_that_is_not_there_is_told(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ServiceFailure, match="/absent of HEARTH_WASM_DIRS is not a folder"):
        load(visitor(), settings=Settings(folders=(Folder(f"{tmp_path}/absent", "/in", False),)))


def test_a_granted_variable_is_seen(load: Load) -> None:
    assert load(visitor(), settings=Settings(variables=(("MODEL", "small"),))).do(b"v") == b"small"


def test_there_is_no_network(load: Load) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = struct.pack("<H", server.getsockname()[1])
        assert load(visitor()).do(b"c" + port) == ACCESS_DENIED


def test_an_exit_ends_the_instance_and_not_the_process(load: Load) -> None:
    loaded = load(visitor())
    with pytest.raises(ServiceFailure, match="the component was stopped: Exited with i32 exit status 1"):
        loaded.do(b"x")
    assert loaded.do(b"v") == b"nothing there"


SLEEPER = """
import sys
from flamepy.core.service import ApplicationContext, SessionContext, TaskContext
from hearth.wasm.service import WasmService
from hearth.wasm.settings import Settings
service = WasmService([sys.argv[1]], Settings(timeout_s=0.05))
service.on_session_enter(SessionContext(None, "s", ApplicationContext("a")))
service.on_task_invoke(TaskContext("1", "s", b"sleep"))
"""


def test_a_call_that_sleeps_in_the_host_is_stopped_with_its_process(tmp_path: Path) -> None:
    """Nothing looks at an epoch there."""
    (tmp_path / "visitor.wat").write_text(visitor())
    done = subprocess.run(
        [sys.executable, "-c", SLEEPER, tmp_path / "visitor.wat"],
        env={"PYTHONPATH": str(SOURCE), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, "waits in its host beyond its 0.05 s" in done.stderr) == (1, True), done.stderr
