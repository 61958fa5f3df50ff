# SPDX-License-Identifier: Apache-2.0
"""What the standard library offers for the same: a process pool, and a bare pipe to a child that echoes.

Children are spawned, not forked: this program has threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

__all__ = ["Pipe", "first_result_of_a_pool", "noop", "open_pipe", "open_pool", "start_and_end_python"]

_spawn = multiprocessing.get_context("spawn")


def noop(data: bytes) -> bytes:
    """The pool's task."""
    return data


def open_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of so many processes, not started yet."""
    return ProcessPoolExecutor(workers, mp_context=_spawn)


def first_result_of_a_pool(data: bytes) -> bytes:
    """What a new pool of one process gives back, forked by multiprocessing's own fork server, which stays."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        return pool.submit(noop, data).result()


def start_and_end_python() -> None:
    """An interpreter that does nothing: what no program of its own can be faster than."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


class Pipe(NamedTuple):
    """Our end, and the process at the other one, which sends back all it gets."""

    end: Connection
    pid: int

    @contextlib.contextmanager
    def on_two_cores(self) -> Iterator[None]:
        """Keep the two ends on different cores in the block; where there is only one, this does nothing."""
        cores = os.sched_getaffinity(0)
        ours, theirs, *_ = sorted(cores) * 2
        os.sched_setaffinity(0, {ours})
        os.sched_setaffinity(self.pid, {theirs})
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)
            os.sched_setaffinity(self.pid, cores)


@contextlib.contextmanager
def open_pipe() -> Iterator[Pipe]:
    """A pipe to a child of its own."""
    ours, theirs = _spawn.Pipe()
    child = _spawn.Process(target=_echo, args=(theirs,), daemon=True)
    child.start()
    theirs.close()
    assert child.pid is not None
    with ours:
        yield Pipe(ours, child.pid)
    child.join()


def _echo(end: Connection) -> None:
    with contextlib.suppress(EOFError):
        while True:
            end.send_bytes(end.recv_bytes())
