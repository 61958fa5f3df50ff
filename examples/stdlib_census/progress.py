# SPDX-License-Identifier: Apache-2.0
"""How far we are, on stderr: a bar on a terminal, else a line a quarter. Used by client.py."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["shown"]

_T = TypeVar("_T")


def shown(items: Iterable[_T], total: int, label: str) -> Iterator[_T]:
    """The items as they are, while progress is shown."""
    if sys.stderr.isatty():
        return iter(track(items, label, total=total, console=Console(stderr=True)))
    return _told(items, total, label)


def _told(items: Iterable[_T], total: int, label: str) -> Iterator[_T]:
    marks = {total * quarter // 4 for quarter in range(1, 5)}
    print(f"{label}: 0 of {total}", file=sys.stderr, flush=True)
    for done, item in enumerate(items, 1):
        yield item
        if done in marks:
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)
