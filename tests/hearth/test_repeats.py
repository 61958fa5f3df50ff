"""A flood of lines about one thing is cut, and said to have been."""

from __future__ import annotations

import logging

from hearth.repeats import RepeatFilter


def record(at_s: float, line: int = 1) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.WARNING, "x.py", line, "refused uid %d", (7,), None)
    made.created = at_s
    return made


def test_so_many_lines_a_minute_pass_from_each_place_and_the_next_says_how_many_did_not() -> None:
    repeats = RepeatFilter()
    assert sum(repeats.filter(record(100.0 + number / 100)) for number in range(5000)) == 600
    assert repeats.filter(record(150.0, line=2)), "another place is heard"
    after = record(160.0)
    assert repeats.filter(after)
    assert after.getMessage() == "refused uid 7 (4400 more like it were not told)"
    later = record(300.0)
    assert repeats.filter(later)
    assert later.getMessage() == "refused uid 7"
