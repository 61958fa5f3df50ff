# SPDX-License-Identifier: Apache-2.0
"""The server's first byte: 0 to welcome, an errno to refuse. It reads the peer's credentials from the socket."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from flux.connectors.transport import connect_error

if TYPE_CHECKING:
    import socket

__all__ = ["be_welcomed", "check_welcome"]


def be_welcomed(stream: socket.socket, timeout_s: float | None) -> None:
    """Wait for the welcome; the socket is blocking afterwards. Raises OSError, and closes the socket, without one."""
    try:
        stream.settimeout(timeout_s)
        _read_welcome(stream)
        stream.settimeout(None)
    except BaseException:
        stream.close()
        raise


def _read_welcome(stream: socket.socket) -> None:
    try:
        answer = stream.recv(1)
    except ConnectionResetError:
        answer = b""
    except TimeoutError:
        raise connect_error(errno.ETIMEDOUT) from None
    check_welcome(answer)


def check_welcome(answer: bytes) -> None:
    """Judge the first byte, empty when the server hung up. Raises OSError unless it is a welcome."""
    if not answer:
        raise connect_error(errno.ECONNRESET)
    if answer != b"\0":
        raise connect_error(answer[0])
