"""What a service does when one of its clients is cut off is done at once, not when somebody else says something."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from flux import packet as wire
from flux.constants import FLUX_MSGTYPE_EVENT
from flux.packet import Packet
from hearth.broker.access import Access
from hearth.broker.connection import HARD_MARK_BYTES
from hearth.broker.payloads import no_payload
from hearth.broker.router import Router
from hearth.broker.server import Broker
from hearth.broker.service import Service
from tests.hearth.broker.wire import ask

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


class Late(Service):
    """One that does its work at the end of each batch, as the engine's does."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker.router, "late")
        self.noted = 0
        self.is_asked = asyncio.Event()
        self.is_done = asyncio.Event()
        self.add_method("note", no_payload, lambda request, nothing: self.is_asked.set())
        self.add_method("disconnect", no_payload, self._disconnect)
        broker.before_write(self._finish)

    def _disconnect(self, request: Packet, nothing: None) -> None:
        self.noted += 1

    def _finish(self) -> None:
        if self.noted:
            self.is_done.set()


async def cut_off_one(path: Path) -> None:
    broker = Broker(Router("b" * 36, os.getuid()), Access(os.getuid()))
    service = Late(broker)
    broker.listen(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, str(path))
        for topic, payload in (("event.subscribe", {"topic": "flood"}), ("late.note", None)):
            await loop.sock_sendall(client, wire.encode(ask(topic, payload)))
        await service.is_asked.wait()
        for _ in range(HARD_MARK_BYTES // MIB + 2):
            broker.router.publish(Packet(FLUX_MSGTYPE_EVENT, topic="flood", payload=bytes(MIB)))
        assert not service.is_done.is_set()
        broker.settle()
        await asyncio.wait_for(service.is_done.wait(), 20)
    broker.close()


def test_a_service_finishes_what_the_end_of_a_cut_off_client_began(tmp_path: Path) -> None:
    asyncio.run(cut_off_one(tmp_path / "s"))
