# SPDX-License-Identifier: Apache-2.0
"""The daemon process: runs one instance until it is told to stop, or its owner is gone."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import logging
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING

from hearth.instance import Instance
from hearth.memory import keep_freed_memory
from hearth.rundir import default_rundir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hearth.zygote.process import ZygoteProcess

__all__ = ["default_rundir", "serve"]

log = logging.getLogger(__name__)

_DRAIN_S = 10.0
_LEAVE_S = 1.0
_LOOK_S = 0.01
_GC_THRESHOLD = 50_000  # tasks are no garbage: looking for cycles among a hundred thousand of them costs time


def serve(
    rundir: Path, owner: int | None, configuration: Path | None = None, zygote: ZygoteProcess | None = None
) -> None:
    """Run until SIGTERM or SIGINT, until a client asks for the end, or until the owner process ends.

    Prints ``ready URI`` when clients may connect. A first signal, or a client's request, drains: tasks that
    run are waited for, up to ten seconds, no more are begun; a second signal stops at once. zygote is a fork
    server for Python programs. Raises OSError if the folder cannot be used, another instance runs in it, or the
    configuration cannot be read.
    """
    _own_folder(rundir)
    lock = _lock(rundir)
    gc.set_threshold(_GC_THRESHOLD)
    keep_freed_memory()
    loop = _new_event_loop()
    try:
        loop.run_until_complete(_serve(rundir, owner, configuration, zygote))
    finally:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)  # we are ending; one more must not cut the cleaning up short
        loop.close()
        os.close(lock)
        if owner is not None:
            shutil.rmtree(rundir, ignore_errors=True)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Of uvloop where it exists: 10 to 20 % less latency than the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _own_folder(rundir: Path) -> None:
    """Make the folder, or take ours; nobody else may have made it for us."""
    rundir.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = rundir.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{rundir} belongs to uid {status.st_uid}, not to us; choose another --rundir")
    if status.st_mode & 0o022:
        raise PermissionError(f"{rundir} may be written by others (mode {status.st_mode & 0o777:o}); chmod 700 it")


def _lock(rundir: Path) -> int:
    """Only one instance in a folder: a second one would take the first one's socket away. The folder is the lock."""
    descriptor = os.open(rundir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OSError(
            errno.EBUSY, f"an instance is already running in {rundir}; stop it, or choose another --rundir"
        ) from None
    return descriptor


async def _serve(rundir: Path, owner: int | None, configuration: Path | None, zygote: ZygoteProcess | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    hurry = asyncio.Event()

    def stop_now() -> None:
        stop.set()
        hurry.set()

    def on_signal() -> None:
        if stop.is_set() or owner is not None:  # an owner ends us when it has no more use for any answer
            stop_now()
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal)
    if owner is not None:
        _watch_owner(owner, stop_now)
    instance = Instance(rundir, configuration, stop.set, is_lasting=owner is None, zygote=zygote)
    sys.stdout.write(f"ready {instance.uri}\n")
    sys.stdout.flush()
    await stop.wait()
    log.info("draining: %d tasks are running", instance.running_tasks)
    instance.drain()
    await _wait_while(lambda: instance.has_unfinished and not hurry.is_set(), _DRAIN_S)
    instance.leave()
    await _wait_while(lambda: instance.has_leaving, _LEAVE_S)  # in a hurry, too, a service may clean up
    await instance.close()


async def _wait_while(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while condition() and time.monotonic() < deadline:  # noqa: ASYNC110 it only runs while we end
        await asyncio.sleep(_LOOK_S)


def _watch_owner(owner: int, on_gone: Callable[[], None]) -> None:
    """Call on_gone when the process ends, however it ends; at once if it is gone already."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(owner)
    except ProcessLookupError:
        on_gone()
        return
    if os.getppid() != owner:  # it ended before we looked, and the number may be somebody else's by now
        os.close(descriptor)
        on_gone()
        return

    def tell_once() -> None:
        loop.remove_reader(descriptor)  # it stays readable, and would call us in every turn until we have ended
        os.close(descriptor)
        on_gone()

    loop.add_reader(descriptor, tell_once)
