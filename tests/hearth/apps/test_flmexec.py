"""Scripts sent as tasks: what they print comes back, what they do wrong is told, what they start is ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import flamepy
from flamepy import FlameErrorCode, SessionAttributes
from tests.conftest import DEADLINE_S, FAULT_S, executors_of, expect_refusal, wait_until
from tests.hearth.installers.packages import write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

UV = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))


@pytest.fixture
def session(client: flamepy.Connection) -> Iterator[flamepy.Session]:
    session = client.create_session(
        SessionAttributes("flmexec", max_instances=1, resreq=flamepy.ResourceRequirement(memory=1 << 20))
    )
    yield session
    session.close()


def submit(session: flamepy.Session, language: str, code: str, **more: object) -> Future[bytes | None]:
    return session.run(json.dumps({"language": language, "code": code, **more}).encode())


def run(session: flamepy.Session, language: str, code: str, **more: object) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(submit(session, language, code, **more).result(DEADLINE_S) or b"")
    answer["data"] = bytes(answer["data"])
    return answer


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_the_three_applications_that_are_there_from_the_start_say_what_they_take(client: flamepy.Connection) -> None:
    flmexec = client.get_application("flmexec")
    assert flmexec is not None
    assert flmexec.schema is not None
    asked = json.loads(flmexec.schema.input or "")
    assert asked["required"] == ["language", "code"]
    assert asked["properties"]["input"]["items"]["type"] == "integer"
    assert json.loads(flmexec.schema.output or "")["type"] == "string"


def test_python_and_shell_print(session: flamepy.Session) -> None:
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert run(session, "python", "print(1 + 2)") == {"data": b"3\n", "exit_code": 0, "stderr": "", "runtime": own}
    told = run(session, "shell", "echo hello; echo aside >&2")
    assert told == {"data": b"hello\n", "exit_code": 0, "stderr": "aside\n", "runtime": "bash"}


def test_input_is_stdin_byte_by_byte(session: flamepy.Session) -> None:
    upper = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert run(session, "python", upper, input=list(b"flame"))["data"] == b"FLAME"
    every = list(range(256)) * 300
    assert run(session, "shell", "cat", input=every)["data"] == bytes(every)
    assert run(session, "shell", "cat", input=[])["data"] == b""


@pytest.mark.parametrize("more", [{}, {"input": None}])
def test_without_input_a_script_that_reads_does_not_wait(session: flamepy.Session, more: dict[str, object]) -> None:
    assert run(session, "shell", "cat; echo read", **more)["data"] == b"read\n"


def test_a_script_that_fails_fails_its_task_with_what_it_said(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.INTERNAL, "the script exited with status 3", "no such thing"):
        run(session, "shell", "echo printed; echo no such thing >&2; exit 3")
    with expect_refusal(FlameErrorCode.INTERNAL, "exited with status 1", "ZeroDivisionError: division by zero"):
        run(session, "python", "1 / 0")
    with expect_refusal(FlameErrorCode.INTERNAL, "the script was killed by signal 9: Killed"):
        run(session, "shell", "kill -9 $$")


def test_a_script_may_fail_if_nobody_checks(session: flamepy.Session) -> None:
    told = run(session, "shell", "echo printed; echo no such thing >&2; exit 3", check=False)
    assert (told["data"], told["exit_code"], told["stderr"]) == (b"printed\n", 3, "no such thing\n")
    assert run(session, "shell", "kill -9 $$", check=False)["exit_code"] == -9


@pytest.mark.parametrize("runtime", ["sh", "bash", "/bin/sh", "/usr/bin/sh"])
def test_an_allowed_shell_runs_it(session: flamepy.Session, runtime: str) -> None:
    assert run(session, "shell", "echo $0 | tail -c 8", runtime=runtime)["runtime"] == runtime


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"language": "shell", "code": "", "runtime": "/tmp/bash"}, "shell '/tmp/bash' is not allowed"),
        ({"language": "shell", "code": "", "runtime": "python3"}, "shell 'python3' is not allowed"),
        ({"language": "shell", "code": "", "runtime": "../bin/sh"}, "is not allowed"),
        ({"language": "perl", "code": ""}, "language 'perl' is not served, use python or shell"),
        ({"language": "python", "code": "", "runtime": "; rm"}, "runtime '; rm' is no version of Python such as 3.12"),
        ({"language": "python", "code": "", "input": [256]}, "numbers from 0 to 255"),
        ({"language": "python"}, "missing required field `code`"),
        ("text", "a task of flmexec is JSON"),
        (None, "a task of flmexec is JSON"),
    ],
)
def test_a_wrong_request_fails_its_task_and_says_why(session: flamepy.Session, request_: object, text: str) -> None:
    data = b"" if request_ is None else json.dumps(request_).encode()
    with expect_refusal(FlameErrorCode.INTERNAL, text):
        session.run(data).result(DEADLINE_S)


def test_a_version_that_is_not_there_is_replaced_by_our_own_which_is_told(session: flamepy.Session) -> None:
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert run(session, "python", "print(1)", runtime="3.99")["runtime"] == own
    assert run(session, "python", "print(1)", runtime=own)["runtime"] == own


def test_each_script_has_a_folder_of_its_own_that_is_gone_afterwards(session: flamepy.Session) -> None:
    code = "touch left; pwd; ls | wc -l"
    first, second = (run(session, "shell", code)["data"].split() for _ in range(2))
    assert first[0] != second[0]
    assert first[1] == second[1] == b"2"
    assert not os.path.exists(first[0])


@pytest.mark.parametrize("start", ["sleep 1000 & echo $!", "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.1"])
def test_what_a_script_leaves_running_is_ended_with_it(session: flamepy.Session, start: str) -> None:
    pid = int(run(session, "shell", start)["data"])
    assert not is_running(pid)


def test_a_script_that_takes_too_long_is_killed_with_what_it_started(session: flamepy.Session, tmp_path: Path) -> None:
    code = f"echo begun >&2; sleep 1000 & echo $! > {tmp_path}/pid; wait"
    with expect_refusal(FlameErrorCode.INTERNAL, "ran longer than 0.5 s and was killed", "begun"):
        run(session, "shell", code, timeout=0.5)
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert run(session, "shell", "echo next", timeout=None)["data"] == b"next\n"


def test_a_script_that_kills_its_group_ends_only_itself(session: flamepy.Session) -> None:
    with expect_refusal(FlameErrorCode.INTERNAL, "killed by signal 15"):
        run(session, "shell", "kill 0; sleep 1000")
    assert len(executors_of(session)) == 1
    assert run(session, "shell", "echo next")["data"] == b"next\n"


def test_an_instance_that_is_killed_takes_its_script_with_it(session: flamepy.Session, tmp_path: Path) -> None:
    code = f"import os, time; open('{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(1e3)"
    future = session.run(json.dumps({"language": "python", "code": code}).encode(), max_retries=0)
    file = tmp_path / "pid"
    wait_until(lambda: file.exists() and file.read_text(), "the script runs", FAULT_S)
    for executor in executors_of(session):
        assert executor.pid is not None
        os.kill(executor.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(int(file.read_text())), "the script has ended", FAULT_S)
    with expect_refusal(FlameErrorCode.INTERNAL):
        future.result(FAULT_S)


def test_more_output_than_can_be_returned_is_told(session: flamepy.Session) -> None:
    assert len(run(session, "shell", "head -c 3000000 /dev/zero")["data"]) == 3_000_000
    with expect_refusal(FlameErrorCode.INTERNAL, "the script printed 67108865 bytes, at most 67108864 are returned"):
        run(session, "shell", "head -c 67108865 /dev/zero")


def test_a_script_may_use_the_instance_itself(session: flamepy.Session) -> None:
    code = (
        "import flamepy, os\n"
        "assert 'FLAME_EXECUTOR_ID' not in os.environ\n"
        "session = flamepy.create_session('flmping', resreq=flamepy.ResourceRequirement(memory=1))\n"
        "print(session.invoke(b'hello').decode())\n"
        "session.close()\n"
    )
    assert run(session, "python", code)["data"].startswith(b'{"message":"Completed on <')


INLINE = "# /// script\n# dependencies = ['{wheel}']\n# ///\nimport needed\nprint(needed.VALUE)\n"


@pytest.mark.skipif(UV is None, reason="uv is not installed")
def test_a_script_brings_the_dependencies_that_it_names(session: flamepy.Session, tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "needed", b"VALUE = 'brought along'\n")
    told = run(session, "python", INLINE.format(wheel=f"needed @ {wheel.as_uri()}"))
    assert told["data"] == b"brought along\n"
    assert told["runtime"].startswith("uv run --python ")
