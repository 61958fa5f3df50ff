# SPDX-License-Identifier: Apache-2.0
"""A census of the standard library, one task a file, against one process. Run: python examples/stdlib_census/client.py.

It needs nothing running: an instance is started for it and ends with it. With FLAME_ENDPOINT set it
uses that instance, and leaves nothing there.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import time
from concurrent.futures import Future, as_completed, wait
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from census import Answer, Census, census_of, stdlib_files
from progress import shown
from report import Timing, print_report

import flamepy

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).with_name("service.py").resolve()
NEED = flamepy.ResourceRequirement(cpu=1, memory=256 << 20)


@contextlib.contextmanager
def open_session(executors: int) -> Iterator[flamepy.Session]:
    """A session of the census service with so many executors; session and application are gone afterwards."""
    application = f"stdlib-census-{os.getpid()}"
    attributes = flamepy.ApplicationAttributes(command=sys.executable, arguments=[str(SERVICE)])
    flamepy.register_application(application, attributes)
    try:
        session = flamepy.create_session(application, min_instances=executors, max_instances=executors, resreq=NEED)
        try:
            yield session
        finally:
            session.close()
    finally:
        flamepy.unregister_application(application)


def census_by_tasks(files: list[Path]) -> tuple[dict[Path, Census], Timing]:
    """The census, and what it took; the clock starts before anything is started."""
    taken: dict[Path, Census] = {}
    futures: dict[Future[bytes | None], Path] = {}
    pids: set[int] = set()
    first_s = 0.0
    began = time.perf_counter()
    with open_session(len(os.sched_getaffinity(0))) as session:
        try:
            for path in files:
                futures[session.run(os.fsencode(path))] = path
            for future in shown(as_completed(futures), len(files), "one task a file"):
                first_s = first_s or time.perf_counter() - began
                answer = msgspec.json.decode(future.result() or b"", type=Answer)
                taken[futures[future]] = answer.census
                pids.add(answer.pid)
        except BaseException:  # Ctrl-C too: a session with running tasks cannot be closed
            print("ends when the tasks under way have ended", file=sys.stderr)
            wait(futures)
            raise
        return taken, Timing(first_s, time.perf_counter() - began, len(pids))


def census_alone(files: list[Path]) -> tuple[dict[Path, Census], float]:
    """The same census in this process, and its seconds."""
    gc.freeze()  # what this program holds already would slow the parser's garbage collection; an executor holds nothing
    began = time.perf_counter()
    taken = {path: census_of(path) for path in shown(files, len(files), "in one process")}
    return taken, time.perf_counter() - began


def main() -> None:
    """Take the census in both ways, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N files")
    files = stdlib_files()[: parser.parse_args().limit]
    size = sum(len(path.read_bytes()) for path in files)  # read once, so that neither way waits for a cold disk
    print(f"{len(files):,} files, {size / 1e6:.1f} MB", file=sys.stderr)
    taken, timing = census_by_tasks(files)
    alone, alone_s = census_alone(files)
    if taken != alone:
        sys.exit("the two ways disagree; please report this")
    print_report(taken, timing, alone_s)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
