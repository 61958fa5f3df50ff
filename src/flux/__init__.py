# SPDX-License-Identifier: Apache-2.0
"""The Flux message plane in plain Python: messages, handles, futures, events and the reactor."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flux import constants, future, message, rpc, util, wrapper
    from flux.core.handle import Flux
    from flux.message import Message
    from flux.rpc import RPC

__all__ = ["RPC", "Flux", "Message", "constants", "future", "message", "rpc", "util", "wrapper"]

_LOADED_BY = {"Flux": "core.handle", "core": "core.handle", "Message": "message", "RPC": "rpc"}

if not TYPE_CHECKING:  # to a type checker any name would do

    def __getattr__(name: str) -> object:
        """Load what is asked for: who uses a part only, as each service of flamepy does, starts a third faster."""
        module_name = f"flux.{_LOADED_BY.get(name, name)}"
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        if name not in globals():  # where a module that is loaded puts itself
            globals()[name] = getattr(module, name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
