# SPDX-License-Identifier: Apache-2.0
"""The one place where what went wrong on the wire becomes a FlameError."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode, TaskState
from flamepy.protocol import CODE_OF_ERRNO

if TYPE_CHECKING:
    from flamepy.protocol import TaskRef
    from flux.packet import Packet

__all__ = [
    "FORKED",
    "closed_error",
    "connect_error",
    "error_of",
    "lost_error",
    "refusal_error",
    "task_error",
    "watch_timeout",
]

FORKED = "this connection was made before a fork; connect again in the child process"
"""The text of the ECHILD error."""


def error_of(response: Packet) -> FlameError:
    """The failure that a response carries."""
    payload = response.payload or b""
    text = payload.split(b"\0", 1)[0].decode("utf-8", "replace") or os.strerror(response.aux1)
    return FlameError(CODE_OF_ERRNO.get(response.aux1, FlameErrorCode.INTERNAL), text)


def lost_error(uri: str, error: OSError | None) -> FlameError:
    """The connection is gone: INTERNAL; or it was left behind by a fork, which is the program's doing."""
    if error is not None and error.errno == errno.ECHILD:
        return FlameError(FlameErrorCode.INVALID_STATE, error.strerror or str(error))
    reason = "unknown" if error is None else error.strerror or str(error)
    return FlameError(FlameErrorCode.INTERNAL, f"connection to {uri} is lost: {reason}")


def connect_error(addr: str, error: OSError) -> FlameError:
    """Nobody is at that address, or somebody else's instance."""
    if isinstance(error, PermissionError):
        return FlameError(
            FlameErrorCode.INVALID_CONFIG,
            f"the instance at {addr} is somebody else's ({error.strerror}); start one of your own: hearth up",
        )
    return FlameError(
        FlameErrorCode.INVALID_CONFIG,
        f"no instance answers at {addr} ({error.strerror or error}); start one: hearth up",
    )


def closed_error(session_id: str) -> FlameError:
    """The session takes no more tasks."""
    return FlameError(FlameErrorCode.INVALID_STATE, f"session {session_id!r} is closed")


def refusal_error(code: int, text: str) -> FlameError:
    """A submission became no task."""
    return FlameError(FlameErrorCode(code), text)


def watch_timeout(task: TaskRef, timeout_s: float | None) -> TimeoutError:
    """A task was watched for so long."""
    return TimeoutError(f"task {task.task} of session {task.session!r} has not ended within {timeout_s} s")


def task_error(state: int, message: str | None) -> FlameError:
    """A task ended otherwise than well."""
    if state == TaskState.CANCELLED:
        return FlameError(FlameErrorCode.INVALID_STATE, message or "the task was cancelled")
    return FlameError(FlameErrorCode.INTERNAL, message or "Task failed without error message")
