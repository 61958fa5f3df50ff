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
from hearth.rundir import default_rundir, default_statedir

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
    rundir: Path,
    statedir: Path | None,
    owner: int | None,
    configuration: Path | None = None,
    zygote: ZygoteProcess | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, until a client asks for the end, or until the owner process ends.

    statedir: where the stores are; None for the user's own place for this rundir. An instance with an owner ends with
    it, and stores nothing. zygote is a fork server for Python programs. Prints ``ready URI`` when clients may connect.
    A first signal, or a client's request, drains: tasks that run are waited for, up to ten seconds, no more are begun;
    a second signal stops at once. Raises OSError if a folder cannot be used, another instance runs in it, or the
    configuration cannot be read.
    """
    folders = [rundir, *([] if owner is not None else [statedir or default_statedir(rundir)])]
    for folder in folders:
        _own_folder(folder)
    locks = [_lock(folder) for folder in dict.fromkeys(folders)]
    if owner is not None:
        os.environ["FLAME_RECONNECT_TIMEOUT"] = "0"  # whom we start ends with us
    gc.set_threshold(_GC_THRESHOLD)
    keep_freed_memory()
    loop = _new_event_loop()
    try:
        loop.run_until_complete(_serve(*folders, owner=owner, configuration=configuration, zygote=zygote))
    finally:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)  # we are ending; one more must not cut the cleaning up short
        loop.close()
        for lock in locks:
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


def _own_folder(folder: Path) -> None:
    """Make the folder, or take ours; nobody else may have made it for us."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to uid {status.st_uid}, not to us; choose another folder")
    if status.st_mode & 0o022:
        raise PermissionError(f"{folder} may be written by others (mode {status.st_mode & 0o777:o}); chmod 700 it")


def _lock(folder: Path) -> int:
    """Only one instance in a folder: a second one would take its socket, or its store. The folder is the lock."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OSError(
            errno.EBUSY, f"an instance is already running in {folder}; stop it, or choose another one"
        ) from None
    return descriptor


async def _serve(
    rundir: Path,
    statedir: Path | None = None,
    *,
    owner: int | None,
    configuration: Path | None,
    zygote: ZygoteProcess | None,
) -> None:
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
    instance = Instance(rundir, statedir, configuration, stop.set, zygote=zygote)
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
