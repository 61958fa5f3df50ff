# SPDX-License-Identifier: Apache-2.0
"""Parts of a package that are loaded when they are asked for: who uses one only does not wait for the others."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load_part"]


def load_part(package: str, name: str) -> ModuleType:
    """A module of the package, as an attribute of it. Raises AttributeError if there is none of that name."""
    full = f"{package}.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
