# SPDX-License-Identifier: Apache-2.0
"""A process that an earlier daemon has started: it is no child of ours, but can be watched, read and ended like one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hearth.providers.child import Child, ProcessSpec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AdoptedChild", "open_output"]


class AdoptedChild(Child):
    """The group that a process is in, by the process that leads it. Raises OSError if it has ended."""

    def __init__(self, name: str, pid: int, on_ended: Callable[[str], None]) -> None:
        self._leader = os.getpgid(pid)
        super().__init__(ProcessSpec(name, [], {}, "", -1, -1), on_ended)

    def _start(self, spec: ProcessSpec) -> None:
        self._watch(self._leader)

    def _reap(self, pid: int) -> None:
        self._tell("ended")  # its status is told to its parent only, which is not us


def open_output(pid: int, descriptor: int) -> int:
    """A descriptor from which to read what the process writes to its own. Raises OSError."""
    return os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
