# SPDX-License-Identifier: Apache-2.0
"""The built-in application `flmping`: answers at once, or sleeps and allocates as asked.

Input: nothing, or a JSON object with "duration" in milliseconds and "memory" in bytes, each optional.
Anything else is a plain ping. Output: a JSON object with "message".
"""

from __future__ import annotations

import socket
import time

import msgspec

import flamepy

__all__ = ["Ping"]


class _Asked(msgspec.Struct):
    duration: float | None = None
    memory: int | None = None


class Ping(flamepy.FlameService):
    """Does nothing, for a while, with some memory."""

    def __init__(self) -> None:
        self._host = socket.gethostname()

    def on_task_invoke(self, context: flamepy.TaskContext) -> bytes:
        """Sleep, allocate, tell. Raises ValueError for a negative duration or memory."""
        asked = _read(context.input)
        milliseconds, size = asked.duration or 0, asked.memory or 0
        if milliseconds < 0 or size < 0:
            raise ValueError(f"duration and memory must not be negative, got {milliseconds} and {size}")
        held = bytearray(size)
        if milliseconds:
            time.sleep(milliseconds / 1000)
        text = f"Completed on <{self._host}> in <{milliseconds:g}> milliseconds with <{len(held)}> memory"
        return msgspec.json.encode({"message": text})


def _read(data: bytes | None) -> _Asked:
    if not data or not data.lstrip().startswith(b"{"):
        return _Asked()
    try:
        return msgspec.json.decode(data, type=_Asked)
    except msgspec.DecodeError:
        return _Asked()


if __name__ == "__main__":
    flamepy.run(Ping())
