# SPDX-License-Identifier: Apache-2.0
"""The Flux message plane in plain Python: messages, handles, futures, events and the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.loading import load_part

if TYPE_CHECKING:
    from flux import constants, future, message, rpc, util, wrapper
    from flux.core.handle import Flux
    from flux.message import Message
    from flux.rpc import RPC

__all__ = ["RPC", "Flux", "Message", "constants", "future", "message", "rpc", "util", "wrapper"]

_CLASSES = {"Flux": "core.handle", "Message": "message", "RPC": "rpc"}

if not TYPE_CHECKING:  # to a type checker any name would do

    def __getattr__(name: str) -> object:
        """Load what is asked for: who uses a part only, as each service of flamepy does, starts a third faster."""
        if name not in _CLASSES:
            return load_part(__name__, name)
        value = globals()[name] = getattr(load_part(__name__, _CLASSES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
