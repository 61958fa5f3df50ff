# SPDX-License-Identifier: Apache-2.0
"""Enums as protobuf's generated modules have them: names and numbers, looked up both ways."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EnumType"]


class EnumType:
    """One enum. Its values are plain ints, also as attributes: ``NodeState.Ready``."""

    def __init__(self, name: str, values: Mapping[str, int]) -> None:
        self._name = name
        self._values = MappingProxyType(dict(values))
        self._names = {number: name for name, number in values.items()}

    def Name(self, number: int) -> str:
        """The name of a value. Raises ValueError for a number that is none, TypeError for what is no number."""
        if not isinstance(number, int):
            raise TypeError(f"enum {self._name}: got {number!r}, want a number")
        try:
            return self._names[number]
        except KeyError:
            raise ValueError(f"enum {self._name} has no name for the value {number}") from None

    def Value(self, name: str) -> int:
        """The value of a name. Raises ValueError for a name that is none."""
        try:
            return self._values[name]
        except KeyError:
            raise ValueError(f"enum {self._name} has no value {name!r}, only {', '.join(self._values)}") from None

    def keys(self) -> list[str]:
        """The names, in the order of the definition."""
        return list(self._values)

    def values(self) -> list[int]:
        """The numbers, in the order of the definition."""
        return list(self._values.values())

    def items(self) -> list[tuple[str, int]]:
        """Names with their numbers, in the order of the definition."""
        return list(self._values.items())

    def __getattr__(self, name: str) -> int:
        values = self.__dict__.get("_values", {})  # not there yet while it is being unpickled or copied
        try:
            number: int = values[name]
        except KeyError:
            raise AttributeError(f"enum {self.__dict__.get('_name')} has no value {name!r}") from None
        return number
