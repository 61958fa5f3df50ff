# SPDX-License-Identifier: Apache-2.0
"""How the daemon's heap behaves."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 32 << 20
_HEAP_BLOCK_BYTES = 8 << 20


def keep_freed_memory() -> None:
    """Have malloc keep up to 32 MiB of what was freed for the next message.

    Left alone, glibc returns the buffers of each large message to the kernel, which clears every page
    anew for the next one: three quarters of a mebibyte's way through the broker. Other C libraries are
    left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _HEAP_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
