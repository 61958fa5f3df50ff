# SPDX-License-Identifier: Apache-2.0
"""What a component may use, from the environment of its process: time, memory, folders, variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Folder", "Settings"]

TIMEOUT, MEMORY = "HEARTH_WASM_TIMEOUT", "HEARTH_WASM_MEMORY"
FOLDERS, VARIABLES = "HEARTH_WASM_DIRS", "HEARTH_WASM_ENV"

_MIN_TIMEOUT_S = 0.01
_MAX_MEMORY = 4 << 30  # all that 32-bit addresses reach
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([KMG]?)(?:iB|B)?", re.IGNORECASE)


class Folder(NamedTuple):
    """A folder that the component sees."""

    host: str
    guest: str
    is_writable: bool


@dataclass(frozen=True)
class Settings:
    """Limits and grants of one component. Raises ValueError with the name of the setting that is wrong."""

    timeout_s: float = 60.0
    """Of one call."""
    memory: int = 1 << 30
    """Bytes of each of its memories; nearly every component has one."""
    folders: tuple[Folder, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """Names and values of the environment that it sees."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read HEARTH_WASM_*; what is absent or empty is as by default."""
        given = {name: text for name in (TIMEOUT, MEMORY, FOLDERS, VARIABLES) if (text := environment.get(name))}
        return cls(
            timeout_s=_seconds(given[TIMEOUT]) if TIMEOUT in given else cls.timeout_s,
            memory=_bytes(given[MEMORY]) if MEMORY in given else cls.memory,
            folders=tuple(_folder(text) for text in _listed(given.get(FOLDERS, ""))),
            variables=tuple(
                (name, environment[name]) for name in _listed(given.get(VARIABLES, "")) if name in environment
            ),
        )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _MIN_TIMEOUT_S <= seconds < float("inf"):
        raise ValueError(f"{TIMEOUT} is {text!r}, want seconds, {_MIN_TIMEOUT_S:g} or more")
    return seconds


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    if not 1 <= size <= _MAX_MEMORY:
        raise ValueError(f"{MEMORY} is {text!r}, want bytes up to 4G, such as 256M")
    return size


def _folder(text: str) -> Folder:
    host, *rest = text.split("::")
    guest = rest[0] if rest else host
    if not os.path.isabs(host) or not guest or rest[1:] not in ([], ["rw"]):
        raise ValueError(
            f"{FOLDERS} has {text!r}, want /on/this/machine::/for/the/component, with ::rw if it may write"
        )
    return Folder(host, guest, rest[1:] == ["rw"])
