# SPDX-License-Identifier: Apache-2.0
"""The Flux handle for asyncio."""

from flux.aio.call import Call
from flux.aio.events import Events
from flux.aio.handle import Flux, connect
from flux.aio.reconnect import Reconnect
from flux.aio.request import Request
from flux.aio.services import Service
from flux.aio.streams import Stream

__all__ = ["Call", "Events", "Flux", "Reconnect", "Request", "Service", "Stream", "connect"]
