# SPDX-License-Identifier: Apache-2.0
"""What this process remembers of objects, so that only what is new has to travel. Thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

from flamepy.core.values import decode_value

__all__ = ["CachedObject", "Deserializer", "ObjectCache"]

Deserializer: TypeAlias = Callable[[Any, list[Any]], Any]
"""From an object's base and its patches, in the order of their versions, to what it means."""

_OBJECTS_MAX: Final = 1000  # as upstream
_BYTES_MAX: Final = 256 << 20  # larger ones are fetched again, so that a thousand of them do not fill the memory
_RESULTS_MAX: Final = 8  # a deserializer made anew for each call would otherwise leave one behind each time


class CachedObject:
    """One object as it was at a version, as bytes, with what was made of them.

    Bytes, since a deserializer may change the base and the patches that it is given.
    """

    def __init__(self, epoch: str, version: int, base: bytes, patches: list[bytes]) -> None:
        self.epoch = epoch
        self.version = version
        self.base = base
        self.patches = patches
        self.size_bytes = len(base) + sum(map(len, patches))
        self._results: OrderedDict[Hashable, tuple[Deserializer | None, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def with_patches(self, version: int, patches: list[bytes]) -> CachedObject:
        """The object at a later version, which has these patches more."""
        return CachedObject(self.epoch, version, self.base, self.patches + patches)

    def value(self, deserializer: Deserializer | None) -> Any:
        """The base, or what the deserializer makes of base and patches: the same Python object each time."""
        key = _key_of(deserializer)
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key][1]
        result = decode_value(self.base)
        if deserializer is not None:
            result = deserializer(result, [decode_value(patch) for patch in self.patches])
        with self._lock:  # another thread may have made it meanwhile: all get the same
            _, result = self._results.setdefault(key, (deserializer, result))
            if len(self._results) > _RESULTS_MAX:
                self._results.popitem(last=False)
        return result


def _key_of(deserializer: Deserializer | None) -> Hashable:
    """Equal for equal ones; what cannot be hashed equals itself alone. The result keeps it alive, and so its id."""
    try:
        hash(deserializer)
    except TypeError:
        return ("id", id(deserializer))
    return deserializer


class ObjectCache:
    """The objects used last, by endpoint and key. What is here may be old: the instance is asked each time."""

    def __init__(self, objects_max: int = _OBJECTS_MAX, bytes_max: int = _BYTES_MAX) -> None:
        self._objects_max = objects_max
        self._bytes_max = bytes_max
        self._objects: OrderedDict[tuple[str, str], CachedObject] = OrderedDict()
        self._held_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._objects)

    def find(self, endpoint: str, key: str) -> CachedObject | None:
        """What is remembered, which is now the last to be forgotten."""
        with self._lock:
            found = self._objects.get((endpoint, key))
            if found is not None:
                self._objects.move_to_end((endpoint, key))
            return found

    def keep(self, endpoint: str, key: str, new: CachedObject) -> CachedObject:
        """Remember an object, unless another thread has brought a newer one. Returns the one to use."""
        with self._lock:
            old = self._objects.get((endpoint, key))
            if old is not None and old.epoch == new.epoch and old.version > new.version:
                return old
            self._forget((endpoint, key))
            self._objects[endpoint, key] = new
            self._held_bytes += new.size_bytes
            while len(self._objects) > self._objects_max or self._held_bytes > self._bytes_max:
                self._forget(next(iter(self._objects)))
        return new

    def forget(self, endpoint: str, key: str) -> None:
        """Drop one."""
        with self._lock:
            self._forget((endpoint, key))

    def forget_all(self, matches: Callable[[str], bool]) -> None:
        """Drop all whose key matches, of every endpoint."""
        with self._lock:
            for name in [name for name in self._objects if matches(name[1])]:
                self._forget(name)

    def _forget(self, name: tuple[str, str]) -> None:
        gone = self._objects.pop(name, None)
        if gone is not None:
            self._held_bytes -= gone.size_bytes
