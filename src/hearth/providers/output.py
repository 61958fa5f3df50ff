# SPDX-License-Identifier: Apache-2.0
"""What a process printed: the last part of it, in bounded memory."""

from __future__ import annotations

import asyncio
import os

__all__ = ["OutputPipe", "OutputTail"]

_KEEP_BYTES = 64 << 10
_READ_BYTES = 64 << 10
_DRAIN_READS = 32  # a pipe may be made as large as 1 MiB; whoever else still writes must not keep us reading


class OutputPipe:
    """A pipe for a child's output: the block passes the write end to the child, `tail` keeps the read end."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()

    def __enter__(self) -> OutputPipe:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.write_end)
        if self._read_end >= 0:
            os.close(self._read_end)

    def tail(self) -> OutputTail:
        """Follow what the child prints; takes over the read end."""
        descriptor, self._read_end = self._read_end, -1
        return OutputTail(descriptor)


class OutputTail:
    """Reads one end of a pipe on the running loop until EOF. Owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._kept = bytearray()
        self.is_truncated = False
        """Whether more came than is kept."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> bool:
        """Read once; False when there is nothing more for now."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._kept += data
        if len(self._kept) > _KEEP_BYTES:
            self.is_truncated = True
            del self._kept[:-_KEEP_BYTES]
        return True

    def drain(self) -> None:
        """Take what is in the pipe now."""
        for _ in range(_DRAIN_READS):
            if self._descriptor < 0 or not self._read():
                return

    def close(self) -> None:
        """Read no more."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return len(self._kept)

    @property
    def kept(self) -> bytes:
        """The last 64 KiB at most."""
        return bytes(self._kept)

    def last_lines(self, count: int) -> list[str]:
        """The last lines that are not blank."""
        lines = self._kept.decode("utf-8", "replace").splitlines()
        return [line.rstrip() for line in lines if line.strip()][-count:]
