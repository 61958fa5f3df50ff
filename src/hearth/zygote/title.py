# SPDX-License-Identifier: Apache-2.0
"""What ps and /proc tell a process to be."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["set_title"]

_ARG_START = 48  # the number of the field in proc_pid_stat(5); the one behind it is arg_end


def set_title(executable: str, command: Sequence[str]) -> None:
    """Let this process be seen as the command, cut to the length of the one that it was started with.

    The kernel reads the command from our memory. When the last byte there is not 0 it takes what is in front of the
    first 0 for all of it, as setproctitle(3) has it.
    """
    with contextlib.suppress(OSError):  # a sandbox may forbid it, and it is for people only
        Path("/proc/self/comm").write_text(os.path.basename(executable), encoding="utf-8")
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        start, end = (int(field) for field in fields[_ARG_START - 3 : _ARG_START - 1])
        title = os.fsencode(" ".join(command))[: end - start - 2]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(title.ljust(end - start - 1, b"\0") + b"\1")
