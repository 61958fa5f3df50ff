# SPDX-License-Identifier: Apache-2.0
"""What the standard library offers for the same: a process pool, and a bare pipe to a child that echoes.

Children are spawned, not forked: this program has threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

__all__ = ["noop", "open_pipe", "open_pool"]

_spawn = multiprocessing.get_context("spawn")


def noop(data: bytes) -> bytes:
    """The pool's task."""
    return data


def open_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of so many processes, not started yet."""
    return ProcessPoolExecutor(workers, mp_context=_spawn)


@contextlib.contextmanager
def open_pipe() -> Iterator[Connection]:
    """Our end of a pipe whose other end sends back all it gets."""
    ours, theirs = _spawn.Pipe()
    child = _spawn.Process(target=_echo, args=(theirs,), daemon=True)
    child.start()
    theirs.close()
    with ours:
        yield ours
    child.join()


def _echo(end: Connection) -> None:
    with contextlib.suppress(EOFError):
        while True:
            end.send_bytes(end.recv_bytes())
