"""What the daemon itself has to tell is in the instance's log."""

from __future__ import annotations

import asyncio
import logging

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING
from hearth.broker.log_handler import InstanceLogHandler
from hearth.broker.log_ring import severity_of, text_of
from tests.hearth.broker.daemon import running_daemon
from tests.hearth.broker.wire import ask


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("hearth.x", level, "x.py", 1, text, (), None)


def delivered(*records: logging.LogRecord) -> list[bytes]:
    lines: list[bytes] = []

    async def log() -> None:
        handler = InstanceLogHandler(asyncio.get_running_loop(), lines.append)
        for each in records:
            handler.emit(each)
            assert not lines, "in the middle of whatever goes wrong"
        await asyncio.sleep(0)

    asyncio.run(log())
    return lines


@pytest.mark.parametrize(
    ("level", "severity"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_a_record_becomes_a_line_of_its_severity_in_a_later_turn(level: int, severity: int) -> None:
    (line,) = delivered(record(level, "it\nbroke \udcff"))
    assert severity_of(line) == severity
    assert text_of(line).startswith("hearth.")
    assert text_of(line).endswith("[0]: it broke \\udcff")


def test_a_record_is_one_line_whatever_it_names() -> None:
    (line,) = delivered(record(logging.ERROR, "no such file: a\r\x1b[1A\x85b"))
    assert line.endswith(rb"no such file: a\r\x1b[1A\x85b")


def test_of_a_flood_the_last_lines_are_kept() -> None:
    lines = delivered(*(record(logging.INFO, str(number)) for number in range(2000)))
    assert len(lines) == 1024
    assert lines[-1].endswith(b" 1999")


def test_a_line_that_makes_another_line_does_not_go_round_for_ever() -> None:
    async def log() -> int:
        count = 0

        def append(line: bytes) -> None:
            nonlocal count
            count += 1
            handler.emit(record(logging.WARNING, "again"))

        handler = InstanceLogHandler(asyncio.get_running_loop(), append)
        handler.emit(record(logging.WARNING, "first"))
        await asyncio.sleep(0)
        return count

    assert asyncio.run(log()) == 1


def test_a_follower_reads_who_was_cut_and_why() -> None:
    with running_daemon() as daemon, daemon.connect() as follower:
        follower.say(ask("log.dmesg", {"follow": True}, flags=FLUX_MSGFLAG_STREAMING))
        with daemon.connect() as client:
            client.socket.sendall(bytes(8))
            assert client.is_cut()
        line = follower.hear().payload or b""
        assert severity_of(line.rstrip(b"\0")) == 4
        assert b"closed: [Errno 71] stream magic" in line
