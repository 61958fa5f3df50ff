# SPDX-License-Identifier: Apache-2.0
"""From a URI to a connected byte stream: one small function a scheme, and the handshake.

``local://PATH`` is a Unix stream socket. The server reads the peer's credentials from the socket
and answers one byte: 0 to welcome, an errno to refuse.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READ_BYTES", "connect", "connect_error", "default_uri"]

READ_BYTES = 120 << 10
"""How much to ask of one recv(2). From 128 KiB on malloc maps fresh pages for each call: 13 µs more."""

_RETRIES = 5
_FIRST_DELAY_S = 0.016  # then doubled: 16, 32, 64, 128, 256 ms, as the C connector has it
_PATH_MAX = 107  # sun_path less its NUL
_PREFIX = "Unable to connect to Flux: "


def default_uri() -> str:
    """FLUX_URI, else the address of a system instance."""
    return os.environ.get("FLUX_URI") or "local:///run/flux/local"


def connect(uri: str, timeout_s: float | None = None) -> socket.socket:
    """A blocking socket, connected and welcomed, within timeout_s if that is given.

    Connecting is tried again for half a second (FLUX_LOCAL_CONNECTOR_RETRY_COUNT replaces the five
    retries). Raises OSError with the errno and the text of the C connector: FileNotFoundError for an
    unknown scheme or a missing socket, ConnectionRefusedError when nobody listens, PermissionError
    when the server turns us away, ConnectionResetError when it hangs up.
    """
    scheme, separator, path = uri.partition("://")
    opener = _SCHEMES.get(scheme) if separator else None
    if opener is None:
        name = scheme if separator else uri
        raise connect_error(errno.ENOENT, f"Unable to find connector name '{name}'")
    stream = opener(path)
    try:
        stream.settimeout(timeout_s)
        _handshake(stream)
        stream.settimeout(None)
    except BaseException:
        stream.close()
        raise
    return stream


def _open_local(path: str) -> socket.socket:
    if not path or len(os.fsencode(path)) > _PATH_MAX:
        raise connect_error(errno.EINVAL)
    delay = _FIRST_DELAY_S
    for _ in range(_retry_count()):
        try:
            return _connect_unix(path)
        except OSError:
            time.sleep(delay)
            delay *= 2
    try:
        return _connect_unix(path)
    except FileNotFoundError:
        raise connect_error(errno.ENOENT, f"broker socket {path} was not found") from None
    except OSError as error:
        raise connect_error(error.errno or errno.EIO) from None


def _retry_count() -> int:
    text = os.environ.get("FLUX_LOCAL_CONNECTOR_RETRY_COUNT")
    if text is None:
        return _RETRIES
    if not text.isdecimal():
        raise connect_error(errno.EINVAL)
    return int(text)


def _connect_unix(path: str) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(path)
    except BaseException:
        stream.close()
        raise
    return stream


def _handshake(stream: socket.socket) -> None:
    try:
        answer = stream.recv(1)
    except ConnectionResetError:
        answer = b""
    except TimeoutError:
        raise connect_error(errno.ETIMEDOUT) from None
    if not answer:
        raise connect_error(errno.ECONNRESET)
    if answer != b"\0":
        raise connect_error(answer[0])


def connect_error(errnum: int, text: str | None = None) -> OSError:
    """The OSError of a failed connect; text: in place of errnum's own."""
    return OSError(errnum, _PREFIX + (text or os.strerror(errnum)))


_SCHEMES: dict[str, Callable[[str], socket.socket]] = {"local": _open_local}
