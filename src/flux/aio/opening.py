# SPDX-License-Identifier: Apache-2.0
"""From a URI to an open connection, without blocking the loop: what `flux.connector` does for the others."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from flux import connector
from flux.connectors.fd import take_over
from flux.connectors.handshake import check_welcome
from flux.connectors.local import connecting
from flux.connectors.trace import TracedStream
from flux.connectors.transport import Transport

if TYPE_CHECKING:
    import socket

__all__ = ["open_transport"]


async def open_transport(uri: str) -> Transport:
    """An open connection, welcomed; raises as `flux.connector.open_transport` does."""
    scheme, _, path = uri.partition("://")
    if scheme == "local":
        transport = Transport(await _be_welcomed(await _connect_local(path)))
    elif scheme == "fd":
        transport = Transport(await _be_welcomed(take_over(path)), is_repeatable=False)
    else:
        transport = connector.open_transport(uri)  # loop:// has nobody to wait for, and others do not exist
    if "FLUX_HANDLE_TRACE" in os.environ:
        return replace(transport, stream=TracedStream(transport.stream))
    return transport


async def _connect_local(path: str) -> socket.socket:
    steps = connecting(path, may_wait=False)
    try:
        while True:
            delay_s = next(steps)
            await asyncio.sleep(delay_s)
    except StopIteration as done:
        stream: socket.socket = done.value
        return stream


async def _be_welcomed(stream: socket.socket) -> socket.socket:
    """Read the server's first byte; the socket is closed if that is no welcome, or does not come."""
    try:
        stream.setblocking(False)
        try:
            answer = await asyncio.get_running_loop().sock_recv(stream, 1)
        except ConnectionResetError:
            answer = b""
        check_welcome(answer)
    except BaseException:
        stream.close()
        raise
    return stream
