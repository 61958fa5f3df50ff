"""The fork server as a process: how it ends, what its end means for others, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from flamepy import ApplicationAttributes
from hearth.zygote.process import start_zygote
from tests.conftest import DEADLINE_S, FAULT_S, wait_until
from tests.hearth.providers.programs import WORLD, Executors, open_executors, until

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    import pytest

    from tests.conftest import Place

TELLS = ApplicationAttributes(command="python3", arguments=[WORLD])


def program(folder: Path, text: str) -> ApplicationAttributes:
    (folder / "program.py").write_text(text)
    return ApplicationAttributes(command="python3", arguments=[str(folder / "program.py")])


def stays(folder: Path) -> ApplicationAttributes:
    return program(folder, "import time\nprint('here')\ntime.sleep(60)")


def server_of(executors: Executors) -> psutil.Process:
    assert executors.zygote is not None
    return psutil.Process(executors.zygote.popen.pid)


def run(test: Coroutine[object, object, None]) -> None:
    asyncio.run(test)


def test_a_program_without_a_server_runs_as_well(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path, is_forking=False) as executors:
            executors.launch(TELLS)
            assert not (await executors.end()).world()["is_forked"]

    run(test())


def test_a_program_is_sent_before_the_server_has_loaded(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            for name in ("one", "two", "three"):
                executors.launch(TELLS, name)
            for name in ("one", "two", "three"):
                assert (await executors.end(name)).world()["is_forked"]

    run(test())


def test_a_stopped_program_and_what_it_has_started_are_gone(tmp_path: Path) -> None:
    text = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\nprint('here', child.pid)\nchild.wait()"

    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            executors.launch(program(tmp_path, text))
            await executors.printed(b"\n")
            executors.provider.stop("executor")
            outcome = await executors.end()
            assert outcome.how == "was killed by SIGKILL"
            wait_until(lambda: not psutil.pid_exists(int(outcome.stdout.split()[1])), "its child is gone")

    run(test())


def test_what_a_program_leaves_behind_in_its_group_is_ended(tmp_path: Path) -> None:
    text = "import subprocess\nprint('here', subprocess.Popen(['sleep', '60']).pid)"

    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            executors.launch(program(tmp_path, text))
            outcome = await executors.end()
            wait_until(lambda: not psutil.pid_exists(int(outcome.stdout.split()[1])), "its child is gone")

    run(test())


def test_a_program_that_is_stopped_before_it_has_started_ends(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            executors.launch(stays(tmp_path))
            executors.provider.stop("executor")
            assert (await executors.end()).how in ("was killed by SIGKILL", "was stopped before it had started")

    run(test())


def test_ended_programs_leave_neither_zombies_nor_descriptors(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            server = server_of(executors)
            counts = []
            for number in range(6):
                executors.launch(program(tmp_path, "print('here')"), f"executor-{number}")
                await executors.end(f"executor-{number}")
                counts.append((server.num_fds(), psutil.Process().num_fds()))
            assert counts[0] == counts[-1]
            assert server.children() == []

    run(test())


# -- the server dies


def test_programs_are_executed_when_the_server_is_killed_before_it_has_answered(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            os.kill(server_of(executors).pid, signal.SIGSTOP)
            executors.launch(TELLS)
            os.kill(server_of(executors).pid, signal.SIGKILL)
            assert not (await executors.end()).world()["is_forked"]

    run(test())


def test_a_killed_server_is_replaced(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            executors.launch(TELLS, "before")
            assert (await executors.end("before")).world()["is_forked"]
            server_of(executors).kill()
            told = [True]
            while told != [True, False, True]:  # forked, executed meanwhile, forked again
                name = f"after-{len(executors.logs.of('session'))}"
                executors.launch(TELLS, name)
                is_forked = (await executors.end(name)).world()["is_forked"]
                told += [is_forked] if told[-1] != is_forked else []

    run(test())


def test_the_end_of_a_program_is_noticed_though_its_server_has_died(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            server = server_of(executors)
            executors.launch(stays(tmp_path))
            await executors.printed(b"here")
            program = psutil.Process(await executors.pid())
            server.kill()
            await until(lambda: program.ppid() != server.pid, "it is an orphan")
            program.terminate()
            outcome = await executors.end()
            assert (outcome.how, outcome.stdout) == ("ended; how is not known, as the fork server had died", b"here\n")

    run(test())


def test_a_program_whose_server_has_died_can_be_stopped(tmp_path: Path) -> None:
    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            executors.launch(stays(tmp_path))
            await executors.printed(b"here")
            server_of(executors).kill()
            executors.provider.stop("executor")
            await executors.end()

    run(test())


def test_a_server_that_cannot_load_is_started_again_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "msgspec.py").write_text("raise ImportError('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))

    async def test() -> None:
        async with open_executors(tmp_path) as executors:
            executors.launch(TELLS)
            assert not (await executors.end()).world()["is_forked"]
            await until(lambda: "in 0.4 s it is started again" in caplog.text, "it has died three times")

    run(test())
    assert "no such luck" in caplog.text


def test_a_server_with_threads_does_not_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cloudpickle.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def test() -> None:
        async with open_executors(tmp_path / "executors") as executors:
            executors.launch(ApplicationAttributes(command="python3", arguments=[WORLD]))
            assert not (await executors.end()).world()["is_forked"]

    run(test())
    assert "has 2 threads" in caplog.text


# -- the daemon dies


def test_the_server_ends_with_whoever_started_it(place: Place) -> None:
    text = "from hearth.zygote.process import start_zygote\nimport os, signal\n"
    text += "print(start_zygote().popen.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run(
        [sys.executable, "-c", text], env=place.environment(), stdout=subprocess.PIPE, check=False, text=True
    )
    wait_until(lambda: not psutil.pid_exists(int(done.stdout)), "the server is gone", FAULT_S)


def test_a_server_that_has_loaded_ends_at_once() -> None:
    zygote = start_zygote()
    with contextlib.closing(os.fdopen(zygote.output, "rb")):
        zygote.stream.close()
        assert zygote.popen.wait(DEADLINE_S) == 0
