"""The logs of executors that have ended are bounded in number and in size; the oldest go first."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from hearth.providers.logs import ExecutorLogs
from hearth.providers.output import OutputPipe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearth.providers.logs import ExecutorLog

KEPT = 64 << 10


def fill(logs: ExecutorLogs, number: int, *, size: int = 0, session: str = "session") -> ExecutorLog:
    """Have an executor print so many bytes on each stream, and end."""
    with OutputPipe() as stdout, OutputPipe() as stderr:
        log = logs.open(f"executor-{number}", session, stdout.tail(), stderr.tail())
        for pipe in (stdout, stderr):
            os.write(pipe.write_end, b"x" * size)
    logs.close(log)
    return log


def numbers(logs: Iterable[ExecutorLog]) -> list[int]:
    return [log.number for log in logs]


def test_those_of_the_last_256_executors_are_kept() -> None:
    async def test() -> None:
        logs = ExecutorLogs(itertools.count().__next__, {"session"})
        for number in range(300):
            fill(logs, number)
        assert numbers(logs.of("session")) == list(range(45, 301))

    asyncio.run(test())


def test_no_more_than_16_mib_are_kept() -> None:
    async def test() -> None:
        logs = ExecutorLogs(itertools.count().__next__, {"session"})
        for number in range(130):
            fill(logs, number, size=KEPT)
        kept = logs.of("session")
        assert sum(log.size_bytes for log in kept) == 16 << 20
        assert kept[-1].number == 130

    asyncio.run(test())


def test_those_that_run_are_kept_however_many_have_ended() -> None:
    async def test() -> None:
        logs = ExecutorLogs(itertools.count().__next__, {"session"})
        with OutputPipe() as stdout, OutputPipe() as stderr:
            running = logs.open("running", "session", stdout.tail(), stderr.tail())
            for number in range(300):
                fill(logs, number)
            assert logs.of("session")[0] is running
            assert running.ended is None
            logs.close(running)
        assert running.ended is not None

    asyncio.run(test())


@pytest.mark.parametrize("is_last", [True, False])
def test_those_of_sessions_that_are_gone_are_forgotten(is_last: bool) -> None:
    async def test() -> None:
        sessions = {"gone", "session"}
        logs = ExecutorLogs(itertools.count().__next__, sessions)
        fill(logs, 1, session="gone")
        sessions.remove("gone")
        fill(logs, 2, session="gone" if is_last else "session")
        assert logs.of("gone") == []
        assert len(logs.of("session")) == (0 if is_last else 1)

    asyncio.run(test())
