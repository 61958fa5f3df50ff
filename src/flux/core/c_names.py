# SPDX-License-Identifier: Apache-2.0
"""What the C library calls the functions of a handle, for programs that use those names.

The C bindings find a function by its name with or without the prefix ``flux_``, and a constant with or
without ``FLUX_``. Here those functions have the long name that take and return what Python has;
not those that want pointers, such as flux_recv and flux_get_rank.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from flux import constants
from flux.errors import MissingFunctionError, WrongNumArguments

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CNames"]

_METHODS = {
    f"flux_{name}": name
    for name in (
        "attr_set",
        "event_publish",
        "event_subscribe",
        "event_unsubscribe",
        "flags_get",
        "get_reactor",
        "incref",
        "matchtag_avail",
        "pollevents",
        "pollfd",
        "reactor_run",
        "reactor_stop",
        "reactor_stop_error",
        "reconnect",
        "requeue",
        "respond",
        "respond_error",
        "rpc",
        "send",
        "service_register",
        "service_unregister",
    )
}
"""As in C all arguments must be given. Futures are those of Python; `flux.future.Future` of one is one too."""


class CNames:
    """Looked up only when a handle has no attribute of the name."""

    if not TYPE_CHECKING:  # or no misspelt name would be found by a type checker

        def __getattr__(self, name: str) -> Any:
            method = _METHODS.get(name)
            if method is not None:
                return _with_all_arguments(getattr(self, method))
            if name.isupper():
                value = getattr(constants, name if name.startswith("FLUX_") else f"FLUX_{name}", None)
                if value is not None:
                    return value
            raise MissingFunctionError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name)


def _with_all_arguments(method: Callable[..., Any]) -> Callable[..., Any]:
    wanted = len(inspect.signature(method).parameters)

    def call(*arguments: Any) -> Any:
        if len(arguments) != wanted:
            raise WrongNumArguments(f"flux_{method.__name__}: got {len(arguments)} arguments, want {wanted}")
        return method(*arguments)

    return call
