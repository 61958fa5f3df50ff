from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hearth.broker.router import Router
from hearth.kvs.batch import Batch
from hearth.kvs.namespaces import Namespaces
from hearth.kvs.service import KvsService
from hearth.kvs.watch_service import KvsWatchService
from tests.hearth.broker.wire import BROKER, OWNER, Client, guest_credentials

if TYPE_CHECKING:
    from typing import Any

    from flux.packet import Packet


class KvsClient(Client):
    """A connection whose batches end behind each thing said."""

    batch: Batch

    def say(self, *packets: Packet) -> None:
        super().say(*packets)
        self.batch.finish()

    def heard(self) -> list[Packet]:
        got, self.got = self.got, []
        return got


@pytest.fixture
def namespaces() -> Namespaces:
    return Namespaces(OWNER)


@pytest.fixture
def router() -> Router:
    return Router(BROKER, OWNER)


@pytest.fixture
def batch(router: Router, namespaces: Namespaces) -> Batch:
    """With the services kvs and kvs-watch, in memory."""
    batch = Batch(router, namespaces, None)
    KvsService(router, namespaces, batch, KvsWatchService(router, namespaces, batch))
    return batch


def _client(router: Router, batch: Batch, uuid: str, **more: Any) -> KvsClient:
    client = KvsClient(router, uuid, **more)
    client.batch = batch
    return client


@pytest.fixture
def client(router: Router, batch: Batch) -> KvsClient:
    return _client(router, batch, "aaaaaaaa-client")


@pytest.fixture
def other(router: Router, batch: Batch) -> KvsClient:
    return _client(router, batch, "cccccccc-other")


@pytest.fixture
def guest(router: Router, batch: Batch) -> KvsClient:
    return _client(router, batch, "dddddddd-guest", credentials=guest_credentials)
