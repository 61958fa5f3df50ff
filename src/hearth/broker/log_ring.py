# SPDX-License-Identifier: Apache-2.0
"""The last lines of the instance's log, and how one is read (docs/protocol.md, "Services of the broker")."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

from hearth.text import on_one_line

__all__ = ["LINES_MAX", "LINE_MAX_BYTES", "SEVERITIES", "LogLine", "LogRing", "parse_line", "severity_of", "text_of"]

LINES_MAX = 1024  # as flux-core, and as the attribute log-ring-size says
LINE_MAX_BYTES = 16 << 10
"""C clients write 2 KiB at most; with this the whole ring is below 16 MiB whatever is written."""

_LINE = re.compile(rb"<(\d{1,4})>1 (\S+) (\S+) (\S+) (\S+) - - (.*)", re.DOTALL)
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_NOTICE = 5


class LogRing:
    """The last 1024 lines. Pure.

    Attributes: count, how many came since the start.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES_MAX)
        self.count = 0

    def __len__(self) -> int:
        return len(self._lines)

    def append(self, line: bytes) -> bytes:
        """Take one line; the oldest goes. Returns what is kept: without NULs behind it, cut to 16 KiB."""
        kept = line.rstrip(b"\0")[:LINE_MAX_BYTES]
        self._lines.append(kept)
        self.count += 1
        return kept

    def lines(self) -> list[bytes]:
        """The oldest first."""
        return list(self._lines)

    def clear(self) -> None:
        """Forget every line; they stay counted."""
        self._lines.clear()


class LogLine(NamedTuple):
    """What a line says. The fields before the text are as its writer put them, None if it is of another form.

    severity: 0 (emergency) to 7 (debug), see SEVERITIES; 5 (notice) of a line that does not say.
    """

    severity: int
    time: str | None
    rank: str | None
    program: str | None
    pid: str | None
    text: bytes


def parse_line(line: bytes) -> LogLine:
    """Take a line apart; one of another form is all text.

    The number in front is the severity times 8, with the facility behind it: the reverse of syslog's layout.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return LogLine(_NOTICE, None, None, None, None, line)
    severity = min(int(match[1]) >> 3, len(SEVERITIES) - 1)
    time, rank, program, pid = (field.decode(errors="replace") for field in match.groups()[1:5])
    return LogLine(severity, time, rank, program, pid, match[6])


def severity_of(line: bytes) -> int:
    """0 (emergency) to 7 (debug)."""
    return parse_line(line).severity


def text_of(line: bytes) -> str:
    """A line as people read it: ``python3.err[0]: text``, one line whatever is in it."""
    parsed = parse_line(line)
    text = parsed.text.rstrip(b"\n").decode(errors="replace")
    shown = text if parsed.time is None else f"{parsed.program}.{SEVERITIES[parsed.severity]}[{parsed.rank}]: {text}"
    return on_one_line(shown)
