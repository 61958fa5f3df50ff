# SPDX-License-Identifier: Apache-2.0
"""``fd://N``: a socket that somebody has connected for us, such as a parent process."""

from __future__ import annotations

import errno
import socket

from flux.connectors.handshake import be_welcomed
from flux.connectors.transport import Transport, connect_error

__all__ = ["open_fd", "take_over"]


def open_fd(path: str, timeout_s: float | None) -> Transport:
    """Take descriptor N over; it is closed with the handle. Raises OSError, leaving it open if it is no socket."""
    stream = take_over(path)
    be_welcomed(stream, timeout_s)
    return Transport(stream, is_repeatable=False)


def take_over(path: str) -> socket.socket:
    """The socket of descriptor N, not yet welcomed; raises as `open_fd` does."""
    if not (path.isascii() and path.isdecimal()):
        raise connect_error(errno.EINVAL, "error parsing file descriptor")
    try:
        return socket.socket(fileno=int(path))
    except OverflowError:
        raise connect_error(errno.EBADF) from None
    except OSError as error:
        raise connect_error(error.errno or errno.EIO) from None
