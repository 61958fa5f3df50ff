# SPDX-License-Identifier: Apache-2.0
"""From a URI to an open connection. A scheme is one function in a module of `flux.connectors`, entered here."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from flux.connectors.fd import open_fd
from flux.connectors.local import open_local
from flux.connectors.loop import open_loop
from flux.connectors.transport import Stream, Transport, connect_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READ_BYTES", "Stream", "Transport", "connect", "connect_error", "default_uri", "open_transport"]

READ_BYTES = 120 << 10
"""How much to ask of one recv(2). From 128 KiB on malloc maps fresh pages for each call: 13 µs more."""

_SCHEMES: dict[str, Callable[[str, float | None], Transport]] = {
    "local": open_local,
    "fd": open_fd,
    "loop": open_loop,
}


def default_uri() -> str:
    """FLUX_URI, else the address of a system instance."""
    return os.environ.get("FLUX_URI") or "local:///run/flux/local"


def open_transport(uri: str, timeout_s: float | None = None) -> Transport:
    """An open connection, welcomed within timeout_s if that is given.

    Raises OSError with the errno and the text of the C connector: FileNotFoundError for an unknown scheme
    or a missing socket, ConnectionRefusedError when nobody listens, PermissionError when the server turns
    us away, ConnectionResetError when it hangs up, EINVAL or EBADF for a path that names nothing.
    """
    scheme, separator, path = uri.partition("://")
    opener = _SCHEMES.get(scheme) if separator else None
    if opener is None:
        name = scheme if separator else uri
        raise connect_error(errno.ENOENT, f"Unable to find connector name '{name}'")
    return opener(path, timeout_s)


def connect(uri: str, timeout_s: float | None = None) -> socket.socket:
    """A blocking socket, connected and welcomed; raises as `open_transport` does, and EINVAL for ``loop://``."""
    stream = open_transport(uri, timeout_s).stream
    if not isinstance(stream, socket.socket):
        stream.close()
        raise connect_error(errno.EINVAL, f"{uri}: there is no socket to connect to")
    return stream
