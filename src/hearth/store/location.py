# SPDX-License-Identifier: Apache-2.0
"""Where an instance keeps its sessions and tasks, as `cluster.storage` says it."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Location", "read_location"]

_SYNCHRONOUS = {"normal": "NORMAL", "full": "FULL"}


class Location(NamedTuple):
    """path: of the SQLite file, relative to the state folder unless absolute; None to keep nothing.

    synchronous: of SQLite. NORMAL outlives the end of any process, FULL a loss of power, too.
    """

    path: str | None = "flame.sqlite"
    synchronous: str = "NORMAL"


def read_location(text: str) -> Location:
    """Read ``none`` or ``sqlite://FILE?synchronous=full``. Raises ValueError with what is wanted."""
    if text == "none":
        return Location(None)
    parts = urlsplit(text)
    path = unquote(parts.netloc + parts.path)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    synchronous = _SYNCHRONOUS.get(options.pop("synchronous", "normal").lower())
    if parts.scheme != "sqlite" or not path or path.endswith("/") or options or synchronous is None:
        raise ValueError(f"{text!r}, want none, sqlite://FILE or sqlite://FILE?synchronous=full")
    return Location(path, synchronous)
