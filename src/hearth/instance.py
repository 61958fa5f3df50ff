# SPDX-License-Identifier: Apache-2.0
"""One instance, put together: broker, engine, provider and the built-in applications, on a running loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import socket
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from flamepy.core.patience import reconnect_timeout
from hearth import __version__
from hearth.apps.builtin import builtin_applications
from hearth.broker.access import Access
from hearth.broker.attribute_table import CONSTANT, PLAIN
from hearth.broker.attributes import Attributes, AttributeService
from hearth.broker.broker_service import BrokerService
from hearth.broker.config import ConfigService
from hearth.broker.connector import ConnectorService
from hearth.broker.credentials import ServiceError
from hearth.broker.events import EventService
from hearth.broker.groups import GroupsService
from hearth.broker.heartbeat import HeartbeatService
from hearth.broker.log import LogService
from hearth.broker.log_handler import InstanceLogHandler
from hearth.broker.modules import ModuleService
from hearth.broker.overlay import OverlayService
from hearth.broker.resource import JobManagerService, ResourceService
from hearth.broker.router import Router
from hearth.broker.server import Broker
from hearth.broker.service_list import ServiceListService
from hearth.broker.shutdown import ShutdownService
from hearth.broker.state_machine import State, StateMachineService
from hearth.cluster_configuration import read_cluster
from hearth.configuration_file import read_configuration
from hearth.engine.engine import Engine
from hearth.engine.lifecycle import ExecutorState
from hearth.flame.control import Control
from hearth.flame.executors import Executors
from hearth.flame.logs import Logs
from hearth.flame.nodes import Nodes
from hearth.flame.objects import Objects
from hearth.flame.results import Results
from hearth.flame.service import FlameService
from hearth.flame.tasks import TaskViews
from hearth.kvs.batch import Batch
from hearth.kvs.namespaces import Namespaces
from hearth.kvs.service import KvsService
from hearth.kvs.watch_service import KvsWatchService
from hearth.providers.local import LocalProvider, machine_capacity
from hearth.providers.logs import ExecutorLogs
from hearth.providers.shims import shims_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hearth.cluster_configuration import ClusterConfiguration
    from hearth.kvs.store import Store
    from hearth.store.location import Location
    from hearth.store.writer import Writer
    from hearth.zygote.process import ZygoteProcess

__all__ = ["Instance"]

log = logging.getLogger(__name__)

_COME_BACK_S = 0.6
"""Executors look every quarter of a second; one that takes longer finds its place taken, if there is no other."""

FLUX_VERSION = "0.88.0"
"""The flux-core whose wire behaviour we keep."""


class Instance:
    """A broker on ``RUNDIR/local-0`` with everything behind it. Create it on the loop that is to run it.

    rundir must exist and belong to us. statedir, too: there the stores are kept for the next instance; None to
    store nothing. configuration is a file or folder (hearth.configuration_file), or None. stop is called when the
    owner asks for the end, maybe more than once; `drain`, `leave` and `close` then follow. zygote: a fork server,
    which is the instance's from now on. Raises OSError if the socket cannot be made, the configuration is not one,
    or a store cannot be read.
    """

    def __init__(
        self,
        rundir: Path,
        statedir: Path | None,
        configuration: Path | None,
        stop: Callable[[], object],
        *,
        zygote: ZygoteProcess | None = None,
    ) -> None:
        self._started = time.monotonic()
        self.uri = f"local://{rundir / 'local-0'}"
        self.router = Router(str(uuid.uuid4()), os.getuid())
        self.broker = Broker(self.router, Access(owner=os.getuid()))
        cluster = _read_cluster(configuration)
        capacity = cluster.capacity_of(machine_capacity())
        is_lasting = statedir is not None and cluster.storage.path is not None
        host = socket.gethostname()
        self.engine = Engine(
            capacity,
            shims=shims_here(os.environ),
            limits=cluster.limits,
            executor_prefix=self.router.uuid[:8],
            host=host,
            is_recorded=is_lasting,
        )
        self._serve_clients(_attributes(rundir, statedir or rundir, self.uri, self.router.uuid, host, configuration))
        self._serve_operators(configuration, stop)
        ResourceService(self.router, host, int(capacity.cpu))
        self._store = self._serve_kvs(None if statedir is None else statedir / "content.sqlite")
        self._register_builtin_applications()
        writer = _open_writer(statedir, cluster.storage, self.engine) if statedir is not None and is_lasting else None
        self._flame = flame = FlameService(self.broker, self.engine, self.uri, writer)
        logs = ExecutorLogs(flame.now, self.engine.state.sessions)
        self.provider = LocalProvider(
            folder=rundir / "executors", uri=self.uri, capacity=capacity, logs=logs, zygote=zygote
        )
        Control(flame)
        Results(flame)
        TaskViews(flame)
        Executors(flame, self.provider)
        Logs(flame, logs)
        Nodes(flame)
        Objects(flame, self.uri)
        self._configure()
        if self.broker.access.allow_guest_user and not rundir.stat().st_mode & 0o011:
            log.warning("guests are allowed, but they cannot reach the socket: chmod 711 %s", rundir)
        self._expect_executors()
        flame.something_happened()
        self.broker.listen(rundir / "local-0")
        logging.getLogger("hearth").addHandler(self._log_handler)
        if cluster.unused:
            log.info("these keys of %s have no effect here: %s", configuration, ", ".join(cluster.unused))

    def _serve_clients(self, attributes: Attributes) -> None:
        """What every Flux client may expect of a broker."""
        AttributeService(self.router, attributes)
        EventService(self.router)
        self._log = LogService(self.router, attributes, _show)
        GroupsService(self.router)
        OverlayService(self.router, self._uptime_s)
        ModuleService(self.router)
        ServiceListService(self.router, os.getpid())
        HeartbeatService(self.router, asyncio.get_running_loop().call_later, self.broker.settle)
        ConnectorService(self.broker)
        BrokerService(self.router, os.environ)
        JobManagerService(self.router)

    def _serve_operators(self, configuration: Path | None, stop: Callable[[], object]) -> None:
        """What changes or ends the instance, and tells of it."""
        read = None if configuration is None else functools.partial(_read_checked, configuration)
        self._config = ConfigService(self.router, read)
        self._state_machine = StateMachineService(self.router, self._uptime_s)
        self._shutdown = ShutdownService(self.router, stop)
        self._log.on_line(self._shutdown.show)
        self._log_handler = InstanceLogHandler(asyncio.get_running_loop(), self._keep_line)

    def _expect_executors(self) -> None:
        """Those of a daemon that was killed look for us now."""
        if self.provider.left_behind:
            self.engine.expect(self.provider.left_behind, self._flame.now() + _COME_BACK_S)
            asyncio.get_running_loop().call_later(reconnect_timeout() + _COME_BACK_S, self.provider.sweep)

    def _keep_line(self, line: bytes) -> None:
        self._log.keep(line)
        self.broker.settle()

    def _configure(self) -> None:
        try:
            self._config.reload()
        except ServiceError as error:
            raise OSError(error.errnum, error.text) from None

    def _serve_kvs(self, path: Path | None) -> Store | None:
        namespaces = Namespaces(self.router.owner)
        store = None if path is None else _open_store(path, namespaces)
        batch = Batch(self.router, namespaces, store)
        KvsService(self.router, namespaces, batch, KvsWatchService(self.router, namespaces, batch))
        self.broker.before_write(batch.finish)
        return store

    def _uptime_s(self) -> float:
        return time.monotonic() - self._started

    def _register_builtin_applications(self) -> None:
        for name, attributes in builtin_applications().items():
            self.engine.applications.register(name, attributes, time.time())

    @property
    def has_unfinished(self) -> bool:
        """Whether tasks run, services leave, or something is on its way to the store or a client."""
        if self.running_tasks or self.has_leaving or self.broker.has_unsent:
            return True
        return self._flame.durability.is_under_way

    @property
    def has_leaving(self) -> bool:
        """Whether a service is being told that its session is over."""
        return any(executor.state is ExecutorState.UNBINDING for executor in self.engine.state.executors.values())

    @property
    def running_tasks(self) -> int:
        """How many tasks are with executors now."""
        return sum(session.running for session in self.engine.state.open_sessions.values())

    def drain(self) -> None:
        """Give no more tasks to executors; those they have are finished, and then they leave."""
        self._state_machine.enter(State.CLEANUP)
        self.engine.drain()
        self._flame.something_happened()

    def leave(self) -> None:
        """Tasks are no longer waited for."""
        self._state_machine.enter(State.SHUTDOWN)
        self.engine.halt()
        self.broker.settle()

    async def close(self) -> None:
        """End executors and connections, remove the socket."""
        self._state_machine.enter(State.FINALIZE)
        self.broker.settle()
        try:
            try:
                await self.provider.close()
            finally:
                await self._flame.durability.close()
        finally:
            logging.getLogger("hearth").removeHandler(self._log_handler)
            self._log_handler.deliver()
            self._shutdown.finish()
            self.broker.close()
            if self._store is not None:
                self._store.close()


def _read_checked(path: Path) -> dict[str, Any]:
    """What the files say. The engine has what it began with; a mistake in its part is told all the same."""
    configuration = read_configuration(path)
    try:
        read_cluster(configuration)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"{path}: {error}") from None
    return configuration


def _read_cluster(path: Path | None) -> ClusterConfiguration:
    return read_cluster({} if path is None else _read_checked(path))


def _open_store(path: Path, namespaces: Namespaces) -> Store:
    from hearth.kvs.store import Store

    return Store(path, namespaces)


def _open_writer(statedir: Path, location: Location, engine: Engine) -> Writer:
    from hearth.store.opening import open_store  # SQLite, which an instance that stores nothing need not load

    assert location.path is not None
    return open_store(statedir / location.path, location.synchronous, engine)


def _show(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads our stderr; whoever logs need not know
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _attributes(
    rundir: Path, statedir: Path, uri: str, broker_uuid: str, host: str, configuration: Path | None
) -> Attributes:
    """What is so here, over what is so on every broker of one node."""
    configured = {} if configuration is None else {"config.path": str(configuration)}
    return Attributes(
        immutable={
            **CONSTANT,
            **configured,
            "local-uri": uri,
            "security.owner": str(os.getuid()),
            "hostlist": host,
            "hostname": host,
            "broker.pid": str(os.getpid()),
            "broker.uuid": broker_uuid,
            "broker.starttime": f"{time.time():.2f}",
        },
        plain={
            **PLAIN,
            "version": f"{FLUX_VERSION}-hearth-{__version__}",
            "rundir": str(rundir),
            "statedir": str(statedir),
        },
    )
