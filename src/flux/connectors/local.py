# SPDX-License-Identifier: Apache-2.0
"""``local://PATH``: a Unix stream socket."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from flux.connectors.handshake import be_welcomed
from flux.connectors.transport import Transport, connect_error

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["connecting", "open_local"]

_RETRIES = 5
_FIRST_DELAY_S = 0.016  # then doubled: 16, 32, 64, 128, 256 ms, as the C connector has it
_PATH_MAX = 107  # sun_path less its NUL


def open_local(path: str, timeout_s: float | None) -> Transport:
    """Connect and be welcomed.

    Connecting is tried again for half a second; FLUX_LOCAL_CONNECTOR_RETRY_COUNT replaces the five retries.
    """
    steps = connecting(path)
    try:
        while True:
            time.sleep(next(steps))
    except StopIteration as done:
        stream: socket.socket = done.value
    be_welcomed(stream, timeout_s)
    return Transport(stream)


def connecting(path: str, *, may_wait: bool = True) -> Generator[float, None, socket.socket]:
    """Connect, not yet welcomed: yields the seconds to wait between attempts, returns the socket.

    may_wait: else the socket does not block, and a server whose queue is full is a failed attempt.
    """
    if not path or len(os.fsencode(path)) > _PATH_MAX:
        raise connect_error(errno.EINVAL)
    delay = _FIRST_DELAY_S
    for _ in range(_retry_count()):
        try:
            return _connect_unix(path, may_wait)
        except OSError:
            yield delay
            delay *= 2
    try:
        return _connect_unix(path, may_wait)
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


def _connect_unix(path: str, may_wait: bool) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.setblocking(may_wait)
        stream.connect(path)
    except BaseException:
        stream.close()
        raise
    return stream
