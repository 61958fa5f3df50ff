# SPDX-License-Identifier: Apache-2.0
"""What components need to run here, asked without loading it."""

from __future__ import annotations

import importlib.metadata
import importlib.util

__all__ = ["missing"]

OLDEST = 49
"""The first wasmtime whose component API is the one that we use."""

_CURE = "install the extra: pip install 'hearth[wasm]'"


def missing() -> str | None:
    """What keeps components from running, and what to do; None if nothing does."""
    if importlib.util.find_spec("wasmtime") is None:
        return f"wasmtime is not installed; {_CURE}"
    version = importlib.metadata.version("wasmtime")
    if int(version.partition(".")[0]) < OLDEST:
        return f"wasmtime {version} is installed, want {OLDEST} or newer; {_CURE}"
    return None
