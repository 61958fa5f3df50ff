# SPDX-License-Identifier: Apache-2.0
"""What an executor needs before its process can be started: its application, installed on this machine.

The work is done by a process, `python -m hearth.installers`, so the loop goes on meanwhile and a stop is a
kill. Executors that need the same package at the same time share one such process. When it fails, one of
them has failed and the next one begins anew: one attempt, one failed bind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flamepy.core.python_path import with_absolute_python_path
from hearth.installers.failure import InstallFailed
from hearth.installers.installation import Installation, Request, python_version
from hearth.installers.python import OWN_VERSION, base_installation
from hearth.installers.source import file_path
from hearth.providers.environment import expand
from hearth.providers.installer_process import InstallerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.installers.cache import InstallCache
    from hearth.installers.installation import Result
    from hearth.providers.base import Launch

__all__ = ["Preparations"]

log = logging.getLogger(__name__)

_LIMIT_S = 1800.0  # a build of a large library from source takes minutes; what takes longer hangs
_FRESH_S = 60.0  # a server is not asked more often whether a package has changed
_CLOSE_S = 5.0
_KNOWN_MAX = 1000


@dataclass(slots=True)
class _Installing:
    process: InstallerProcess
    waiting: list[Launch]
    limit: asyncio.TimerHandle
    seen: object
    """The state of the source before it was read; see `_state_of`."""
    is_cancelled: bool = False
    """Nobody waited any more, so it was killed; whoever came since is not to blame."""
    is_overdue: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.process.kill()


@dataclass(frozen=True, slots=True)
class _Known:
    """What was installed, how its source looked then, and until when (loop time) that need not be asked again."""

    result: Result
    seen: object
    until: float


class Preparations:
    """All of one provider. Everything is called and told on the running loop.

    prepared is called once for each executor whose process can be started, with what is installed for it, if
    anything; refused with why it cannot, never from within `begin`. One that was cancelled is not told of.
    What is installed for an executor is kept on the disk until `release` is called for it.
    """

    def __init__(
        self,
        cache: InstallCache,
        prepared: Callable[[Launch, Installation | None], None],
        refused: Callable[[Launch, str], None],
    ) -> None:
        self._cache = cache
        self._prepared = prepared
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._installing: dict[Request, _Installing] = {}
        self._known: dict[Request, _Known] = {}
        self._holds: dict[str, int] = {}
        """By executor: the descriptor whose lock keeps its installation from being swept away."""
        self._all_ended = asyncio.Event()

    def begin(self, launch: Launch) -> None:
        """Prepare one executor; at once, before this returns, when there is nothing to wait for."""
        try:
            request = _request_for(launch)
        except InstallFailed as error:
            self._loop.call_soon(self._refused, launch, str(error))
            return
        if request is None:
            self._prepared(launch, self._whole(launch, Installation()) if launch.attributes.installer else None)
        elif (installing := self._installing.get(request)) is not None:
            installing.waiting.append(launch)
        elif (known := self._known_of(request)) is None or not self._give(launch, known):
            self._install(request, [launch])

    def _known_of(self, request: Request) -> Result | None:
        """What is known to be installed, unless its source may have changed since."""
        known = self._known.get(request)
        if known is None:
            return None
        seen = _state_of(request)
        is_fresh = self._loop.time() < known.until if seen is None else seen == known.seen
        return known.result if is_fresh else None

    def _give(self, launch: Launch, result: Result) -> bool:
        """Start the executor on what is installed; False if that is gone by now."""
        assert result.key is not None
        assert result.installation is not None
        try:
            descriptor = self._cache.hold(result.key)
        except OSError as error:
            self._loop.call_soon(self._refused, launch, f"{self._cache.folder}: {error.strerror}")
            return True
        if descriptor is None:
            return False
        self._holds[launch.executor_id] = descriptor
        self._prepared(launch, self._whole(launch, result.installation))
        return True

    def _whole(self, launch: Launch, installation: Installation) -> Installation:
        """With what each application of its installer gets."""
        if not _is_python(launch):
            return installation
        # An application's own PYTHONPATH takes the place of ours, by which its processes may find flamepy.
        inherited = with_absolute_python_path(os.environ).get("PYTHONPATH", "").split(os.pathsep)
        base = base_installation(_version_for(launch), self._cache.folder)
        return Installation(
            installation.path,
            [*installation.python_path, *inherited],
            installation.library_path,
            base.variables | installation.variables,
        )

    # -- installing

    def _install(self, request: Request, waiting: list[Launch]) -> None:
        if not waiting:
            return
        seen = _state_of(request)
        try:
            self._cache.make_folders()
            process = InstallerProcess(request, self._cache.folder)
        except OSError as error:
            what = f": {error.filename}" if error.filename else ""
            for launch in waiting:
                why = f"the installer could not be started: {error.strerror}{what}"
                self._loop.call_soon(self._refused, launch, why)
            return
        limit = self._loop.call_later(_LIMIT_S, self._give_up, request)
        self._installing[request] = _Installing(process, waiting, limit, seen)
        self._loop.add_reader(process.pidfd, self._ended, request)

    def _give_up(self, request: Request) -> None:
        installing = self._installing[request]
        installing.is_overdue = True
        installing.process.kill()

    def _ended(self, request: Request) -> None:
        """The process has ended."""
        installing = self._installing.pop(request)
        installing.limit.cancel()
        self._loop.remove_reader(installing.process.pidfd)
        result = installing.process.take_result()
        if not self._installing:
            self._all_ended.set()
        if installing.is_cancelled:
            self._install(request, installing.waiting)
        elif result.failure is not None:
            late = f"it took longer than {_LIMIT_S:g} s" if installing.is_overdue else None
            self._failed(request, installing.waiting, late or result.failure)
        else:
            self._remember(request, _Known(result, installing.seen, self._loop.time() + _FRESH_S))
            self._install(request, [launch for launch in installing.waiting if not self._give(launch, result)])

    def _remember(self, request: Request, known: _Known) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[request] = known

    def _failed(self, request: Request, waiting: list[Launch], why: str) -> None:
        """One of those that wait has failed; the others try again, and before it is told, since that launches more."""
        self._known.pop(request, None)
        first, *others = waiting
        log.warning("application %s: installation failed: %s", first.application, why)
        self._install(request, others)
        self._refused(first, why)

    # -- the end

    def cancel(self, executor_id: str) -> bool:
        """Forget the executor if it still waits; when nobody else waits the installation is killed."""
        for installing in self._installing.values():
            for launch in installing.waiting:
                if launch.executor_id == executor_id:
                    installing.waiting.remove(launch)
                    if not installing.waiting:
                        installing.cancel()
                    return True
        return False

    def release(self, executor_id: str) -> None:
        """The executor's process has ended, and needs its files no more."""
        descriptor = self._holds.pop(executor_id, None)
        if descriptor is not None:
            os.close(descriptor)

    @property
    def waiting(self) -> list[str]:
        """The executors that are not prepared yet."""
        return [launch.executor_id for each in self._installing.values() for launch in each.waiting]

    async def wait_until_ended(self) -> None:
        """Wait for the ends of installations that were cancelled. Raises TimeoutError after five seconds."""
        self._all_ended.clear()
        if self._installing:
            await asyncio.wait_for(self._all_ended.wait(), _CLOSE_S)


_VERSION = re.compile(r"\d[\w.+-]*")


def _is_python(launch: Launch) -> bool:
    return (launch.attributes.installer or "").lower() == "python"


def _version_for(launch: Launch) -> str:
    return expand(python_version(launch.attributes.environments, OWN_VERSION), os.environ)


def _request_for(launch: Launch) -> Request | None:
    """What has to be installed for the executor, None for nothing. Raises InstallFailed if it cannot be."""
    attributes = launch.attributes
    installer = (attributes.installer or "").lower()
    if not installer:
        return None
    if installer not in ("python", "binary"):
        raise InstallFailed(f"there is no installer {attributes.installer!r}; use python or binary")
    version = _version_for(launch)
    if not _VERSION.fullmatch(version):
        raise InstallFailed(f"FLAME_PYTHON_VERSION is {version!r}, want a version such as 3.12")
    if attributes.url:
        return Request(installer, expand(attributes.url, os.environ), version, launch.application)
    if installer == "binary":
        raise InstallFailed("the installer binary needs a url, which names the program or its archive")
    return None


def _state_of(request: Request) -> object:
    """What is different when a file has changed; None for what is not a file."""
    try:
        status = os.stat(file_path(request.url))
    except InstallFailed:
        return None
    except OSError as error:
        return error.errno
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
