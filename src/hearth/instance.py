# SPDX-License-Identifier: Apache-2.0
"""One instance, put together: broker, engine, provider and the built-in applications, on a running loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
import uuid
from typing import TYPE_CHECKING

from flamepy.core.types import ApplicationAttributes, Shim
from hearth import __version__
from hearth.broker.attribute_table import CONSTANT, PLAIN
from hearth.broker.attributes import Attributes, AttributeService
from hearth.broker.broker_service import BrokerService
from hearth.broker.config import ConfigService
from hearth.broker.connector import ConnectorService
from hearth.broker.credentials import Access
from hearth.broker.events import EventService
from hearth.broker.groups import GroupsService
from hearth.broker.heartbeat import HeartbeatService
from hearth.broker.log import LogService
from hearth.broker.modules import ModuleService
from hearth.broker.overlay import OverlayService
from hearth.broker.router import Router
from hearth.broker.server import Broker
from hearth.broker.service_list import ServiceListService
from hearth.broker.state_machine import StateMachineService
from hearth.engine.engine import Engine
from hearth.engine.lifecycle import ExecutorState
from hearth.flame.control import Control
from hearth.flame.executors import Executors
from hearth.flame.results import Results
from hearth.flame.service import FlameService
from hearth.flame.tasks import TaskViews
from hearth.providers.local import LocalProvider, machine_capacity

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Instance"]

FLUX_VERSION = "0.88.0"
"""The flux-core whose wire behaviour we keep."""


class Instance:
    """A broker on ``RUNDIR/local-0`` with everything behind it. Create it on the loop that is to run it.

    rundir must exist and belong to us. Raises OSError if the socket cannot be made there.
    """

    def __init__(self, rundir: Path) -> None:
        self._started = time.monotonic()
        self.uri = f"local://{rundir / 'local-0'}"
        self.router = Router(str(uuid.uuid4()), os.getuid())
        self.broker = Broker(self.router, Access(owner=os.getuid()))
        capacity = machine_capacity()
        host = socket.gethostname()
        self.engine = Engine(capacity, executor_prefix=self.router.uuid[:8], host=host)
        self._serve_clients(_attributes(rundir, self.uri, self.router.uuid, host))
        self.provider = LocalProvider(folder=rundir / "executors", uri=self.uri, capacity=capacity)
        self._flame = flame = FlameService(self.broker, self.engine, self.uri)
        Control(flame)
        Results(flame)
        TaskViews(flame)
        Executors(flame, self.provider)
        self._register_builtin_applications()
        self.broker.listen(rundir / "local-0")

    def _serve_clients(self, attributes: Attributes) -> None:
        """What every Flux client may expect of a broker."""
        AttributeService(self.router, attributes)
        EventService(self.router)
        LogService(self.router, attributes, _show)
        ConfigService(self.router)
        GroupsService(self.router)
        StateMachineService(self.router, self._uptime_s)
        OverlayService(self.router, self._uptime_s)
        ModuleService(self.router)
        ServiceListService(self.router, os.getpid())
        HeartbeatService(self.router, asyncio.get_running_loop().call_later, self.broker.settle)
        ConnectorService(self.broker)
        BrokerService(self.router, os.environ)

    def _uptime_s(self) -> float:
        return time.monotonic() - self._started

    def _register_builtin_applications(self) -> None:
        flmping = ApplicationAttributes(
            shim=Shim.HOST,
            description="Answers at once, or after the asked time",
            command=sys.executable,
            arguments=["-m", "hearth.apps.flmping"],
        )
        self.engine.applications.register("flmping", flmping, time.time())

    @property
    def has_unfinished(self) -> bool:
        """Whether tasks run, services leave, or something is on its way to a client."""
        return self.running_tasks > 0 or self.has_leaving or self.broker.has_unsent

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
        self.engine.drain()
        self._flame.something_happened()

    async def close(self) -> None:
        """End executors and connections, remove the socket."""
        try:
            await self.provider.close()
        finally:
            self.broker.close()


def _show(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads our stderr; whoever logs need not know
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _attributes(rundir: Path, uri: str, broker_uuid: str, host: str) -> Attributes:
    """What is so here, over what is so on every broker of one node."""
    return Attributes(
        immutable={
            **CONSTANT,
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
            "statedir": str(rundir),
        },
    )
