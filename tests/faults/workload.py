"""The tasks of the campaign: their inputs, the one right answer to each, and the journal of what a client was told."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

__all__ = ["Journal", "Told", "answer_to", "name_of", "new_input", "pause_of", "read_journal"]

_SIZES = (*([0] * 100), 100, 100, 2_000, 100_000)
_PAUSES_MS = (*([0] * 300), 5, 50, 200)


def new_input(name: str, chance: random.Random) -> bytes:
    """The input of the task of this name: mostly small and quick, now and then neither."""
    head = f"{name} {chance.choice(_SIZES)} {chance.choice(_PAUSES_MS)} ".encode()
    return head + b"." * chance.choice(_SIZES)


def name_of(data: bytes) -> str:
    """The name in an input."""
    return data.split(b" ", 1)[0].decode()


def pause_of(data: bytes) -> float:
    """Seconds that the task takes."""
    return int(data.split(b" ", 3)[2]) / 1000


def answer_to(data: bytes) -> bytes:
    """What the service answers: no other input has this answer."""
    return hashlib.sha256(data).hexdigest().encode() + b"=" * int(data.split(b" ", 3)[1])


class Journal:
    """Lines appended by single writes: whoever is killed has written each in full, or not at all.

    A client begins (`begin GENERATION`), is going to submit (`sent NAME`), gets the right answer (`got NAME`), gives
    up what was sent (`cancelled NAME`), is told that a task was made (`made NAME SESSION TASK`), gets anything else
    (`bad NAME WHAT`), and has all answers (`end GENERATION`).
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, *words: object) -> None:
        line = " ".join(map(str, words)).replace("\n", " | ") + "\n"
        assert os.write(self._file, line.encode()) == len(line.encode())


@dataclass
class Told:
    """What a client was told in all its lives."""

    begun: int = 0
    ended: list[int] = field(default_factory=list)
    got: Counter[str] = field(default_factory=Counter)
    sent: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Session and task, by name."""
    bad: list[str] = field(default_factory=list)


def read_journal(path: Path) -> Told:
    """All that is in the file; nothing if there is none."""
    told = Told()
    for line in path.read_text().splitlines() if path.exists() else ():
        word, *rest = line.split(" ")
        if word == "begin":
            told.begun = int(rest[0])
        elif word == "end":
            told.ended.append(int(rest[0]))
        elif word == "got":
            told.got[rest[0]] += 1
        elif word == "sent":
            told.sent.add(rest[0])
        elif word == "cancelled":
            told.cancelled.add(rest[0])
        elif word == "made":
            told.made[rest[0]] = rest[1], rest[2]
        else:
            told.bad.append(line)
    return told
