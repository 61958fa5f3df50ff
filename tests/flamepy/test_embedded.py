"""The private instance of a program that has configured nothing: starts on first use, ends with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import DEADLINE_S, FAULT_S, SERVICES, SOURCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Place

AS_IN_THE_ISSUE = """
import flamepy
session = flamepy.create_session(
    "flmping",
    min_instances=1,
    resreq=flamepy.ResourceRequirement.from_string("cpu=1,mem=1g"),
)
print(session.invoke(b"hello"))
session.close()
"""

STAYS = """
import sys, flamepy
session = flamepy.create_session("flmping", min_instances=1)
session.invoke(b"")
print("up", flush=True)
sys.stdin.readline()
"""


def start(place: Place, program: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=place.environment(**environment),
        cwd=place.home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell gives to a job
    )


def run(place: Place, program: str, **environment: str) -> tuple[int, str, str]:
    with start(place, program, **environment) as process:
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
    return process.returncode, stdout, stderr


def folders(place: Place) -> list[Path]:
    """Of the instances that are there, or were and did not clean up."""
    return list(place.folder.glob("hearth-*"))


def test_the_first_program_runs_as_it_stands(place: Place) -> None:
    status, stdout, stderr = run(place, AS_IN_THE_ISSUE)
    assert (status, stderr) == (0, "")
    assert stdout.startswith('b\'{"message":"Completed on <')
    assert place.processes() == []
    assert folders(place) == []


def test_the_instance_is_gone_after_an_exception(place: Place) -> None:
    status, _, stderr = run(place, AS_IN_THE_ISSUE.replace("session.close()", "raise SystemError('mine')"))
    assert status == 1
    assert stderr.splitlines()[-1] == "SystemError: mine"
    assert place.processes() == []
    assert folders(place) == []


def test_the_instance_is_gone_after_its_owner_was_killed(place: Place) -> None:
    with start(place, STAYS) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        owner.kill()
        owner.wait(DEADLINE_S)
        place.wait_until_empty(FAULT_S)
        assert folders(place) == []


def test_a_task_in_progress_does_not_hold_up_the_end_of_the_program(place: Place) -> None:
    program = """
import flamepy, time
session = flamepy.create_session("flmping")
future = session.run(b'{"duration": 3600000}')
while flamepy.get_session(session.id).running == 0:
    pass
"""
    with start(place, program) as owner:
        owner.communicate(timeout=FAULT_S)
    assert owner.returncode == 0
    assert place.processes() == []


def test_executors_find_the_embedded_instance(place: Place) -> None:
    program = f"""
import flamepy
flamepy.register_application("actor", {{
    "command": "python3", "arguments": ["actor.py"], "working_directory": {str(SERVICES)!r},
    "environments": {{"PYTHONPATH": {str(SOURCE)!r}}}, "installer": "python",
}})
session = flamepy.create_session("actor", resreq=flamepy.ResourceRequirement(), max_instances=1)
print(session.invoke(b'["ask_flmping"]'))
session.close()
print([s.application for s in flamepy.list_sessions()])
"""
    status, stdout, stderr = run(place, program)
    assert (status, stderr) == (0, "")
    assert stdout.splitlines()[0].startswith('b\'{"message":"Completed on <')
    assert stdout.splitlines()[1] == "['actor', 'flmping']"


def test_every_helper_works_on_the_embedded_instance(place: Place) -> None:
    program = """
import flamepy
assert [a.name for a in flamepy.list_applications()] == ["flmexec", "flmping", "flmrun"]
flamepy.register_application("mine", {"command": "true"})
assert flamepy.get_application("mine").command == "true"
flamepy.unregister_application("mine")
assert flamepy.get_application("mine") is None
one = flamepy.open_session("one", flamepy.SessionAttributes("flmping"))
assert flamepy.open_session("one").id == flamepy.get_session("one").id == "one"
assert [s.id for s in flamepy.list_sessions()] == ["one"]
assert flamepy.close_session("one").state is flamepy.SessionState.CLOSED
"""
    assert run(place, program) == (0, "", "")


def test_ctrl_c_leaves_the_instance_to_close_the_session_on(place: Place) -> None:
    program = """
import flamepy, signal
session = flamepy.create_session("flmping", min_instances=1)
session.invoke(b"")
try:
    print("up", flush=True)
    signal.pause()
except KeyboardInterrupt:
    session.close()
    print(flamepy.get_session(session.id).state.name)
"""
    with start(place, program) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        os.killpg(owner.pid, signal.SIGINT)
        stdout, stderr = owner.communicate(timeout=DEADLINE_S)
    assert (owner.returncode, stdout, stderr) == (0, "CLOSED\n", "")


def test_ctrl_c_interrupts_a_program_that_waits_for_a_task(place: Place) -> None:
    program = """
import flamepy
session = flamepy.create_session("flmping")
future = session.run(b'{"duration": 3600000}')
while flamepy.get_session(session.id).running == 0:
    pass
print("up", flush=True)
future.result()
"""
    with start(place, program) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        owner.send_signal(signal.SIGINT)
        _, stderr = owner.communicate(timeout=FAULT_S)
    assert owner.returncode == -signal.SIGINT
    assert stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_an_instance_that_cannot_start_is_invalid_config_with_its_last_words(place: Place) -> None:
    broken = place.folder / "broken"
    broken.mkdir()
    (broken / "hearth.py").write_text("raise ImportError('broken on purpose')")
    program = """
import flamepy
try:
    flamepy.list_sessions()
except flamepy.FlameError as error:
    print(error.code.name, error.message)
"""
    status, stdout, stderr = run(place, program, PYTHONPATH=f"{broken}:{SOURCE}")
    assert (status, stderr) == (0, "")
    assert stdout.startswith("INVALID_CONFIG the embedded instance did not start")
    assert "broken on purpose" in stdout
    assert folders(place) == []


def test_a_runtime_folder_that_is_not_there_is_done_without(place: Place, tmp_path: Path) -> None:
    """After su, XDG_RUNTIME_DIR is often somebody else's, or names nothing."""
    (place.folder / "tmp").mkdir()
    status, stdout, stderr = run(
        place, AS_IN_THE_ISSUE, XDG_RUNTIME_DIR=str(tmp_path / "missing"), TMPDIR=str(place.folder / "tmp")
    )
    assert (status, stderr) == (0, "")
    assert "Completed" in stdout
    assert list((place.folder / "tmp").iterdir()) == []


def test_files_in_the_current_folder_are_not_taken_for_modules(place: Place) -> None:
    (place.home / "logging.py").write_text("raise ImportError('not for the instance')")
    program = place.folder / "program.py"
    program.write_text(AS_IN_THE_ISSUE)
    done = subprocess.run(
        [sys.executable, program], env=place.environment(), cwd=place.home, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_relative_module_path_means_the_same_to_instance_and_executors(place: Place) -> None:
    status, stdout, stderr = run(place, AS_IN_THE_ISSUE, PYTHONPATH=os.path.relpath(SOURCE, place.home))
    assert (status, stderr) == (0, "")
    assert "Completed" in stdout


def test_a_lost_instance_is_replaced_at_the_next_call(place: Place) -> None:
    program = """
import flamepy, os, signal
from flamepy.core import ConnectionInstance
for _ in range(3):
    connection = ConnectionInstance.instance()
    session = flamepy.create_session("flmping", min_instances=1)
    session.invoke(b"")
    os.kill(ConnectionInstance._embedded._process.pid, signal.SIGKILL)
    try:
        session.run(b'{"duration": 3600000}').result(20)
    except flamepy.FlameError as error:
        assert error.code is flamepy.FlameErrorCode.INTERNAL and "is lost" in error.message
    assert flamepy.list_sessions() == []
"""
    assert run(place, program) == (0, "", "")
    place.wait_until_empty(FAULT_S)
    assert folders(place) == []


def test_a_connection_closed_by_hand_is_made_again_to_the_same_instance(place: Place) -> None:
    program = """
import flamepy
from flamepy.core import ConnectionInstance
session = flamepy.create_session("flmping", session_id="kept")
ConnectionInstance.instance().close()
assert [s.id for s in flamepy.list_sessions()] == ["kept"]
"""
    assert run(place, program) == (0, "", "")


def test_many_threads_start_one_instance(place: Place) -> None:
    program = """
import flamepy
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as threads:
    made = list(threads.map(lambda n: flamepy.create_session("flmping").id, range(8)))
assert sorted(made) == sorted(s.id for s in flamepy.list_sessions())
"""
    assert run(place, program) == (0, "", "")


@pytest.mark.parametrize("what", ["FLAME_ENDPOINT", "file"])
def test_a_configured_endpoint_that_nobody_serves_is_an_error_not_an_embedded_instance(place: Place, what: str) -> None:
    environment = {}
    if what == "FLAME_ENDPOINT":
        environment["FLAME_ENDPOINT"] = "local:///nowhere/local-0"
    else:
        (place.home / ".flame").mkdir()
        (place.home / ".flame" / "flame.yaml").write_text(
            "{current-context: x, contexts: [{name: x, cluster: {endpoint: 'local:///nowhere/local-0'}}]}"
        )
    status, _, stderr = run(place, "import flamepy; flamepy.list_sessions()", **environment)
    assert status == 1
    assert "no instance answers at local:///nowhere/local-0" in stderr
    assert folders(place) == []


def test_nothing_is_started_by_importing(place: Place) -> None:
    status, stdout, _ = run(place, "import flamepy, threading; print(threading.active_count())")
    assert (status, stdout) == (0, "1\n")
    wait_until(lambda: not folders(place), "no folder is there")
