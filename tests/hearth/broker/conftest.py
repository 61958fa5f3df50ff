from __future__ import annotations

import pytest

from hearth.broker.attributes import Attributes, AttributeService
from hearth.broker.events import EventService
from hearth.broker.router import Router
from hearth.broker.service import Service
from tests.hearth.broker.wire import BROKER, OWNER, Client, guest_credentials


@pytest.fixture
def router() -> Router:
    """A router with the services attr, event and broker."""
    router = Router(BROKER, OWNER)
    AttributeService(router, Attributes({"rank": "0", "size": "1"}, {"version": "1", "rundir": "/r"}))
    EventService(router)
    Service(router, "broker")
    return router


@pytest.fixture
def client(router: Router) -> Client:
    return Client(router, "aaaaaaaa-client")


@pytest.fixture
def other(router: Router) -> Client:
    return Client(router, "cccccccc-other")


@pytest.fixture
def guest(router: Router) -> Client:
    return Client(router, "dddddddd-guest", guest_credentials)
