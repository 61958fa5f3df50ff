# SPDX-License-Identifier: Apache-2.0
"""A service's stdout and stderr outlive the daemon that reads them."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["kept_output"]


@contextlib.contextmanager
def kept_output() -> Iterator[None]:
    """Hold the reading ends of our own stdout and stderr, if they are pipes, as long as the block lasts.

    When the daemon is killed nobody else reads them, and a print would raise BrokenPipeError. So it waits in the pipe,
    until the next daemon opens it (as /proc/PID/fd/1) or, if it is full, until there is one.
    """
    with contextlib.ExitStack() as held:
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):  # closed, or no /proc: then the old rules hold
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    end = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                    held.callback(os.close, end)
        yield
