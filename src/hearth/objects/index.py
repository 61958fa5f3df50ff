# SPDX-License-Identifier: Apache-2.0
"""Which objects there are: versions, base and patches of each, and which one has to go when room is short.

Pure. Of the data nothing is looked at but its length.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from flamepy.core.types import FlameError, FlameErrorCode
from flamepy.protocol import MAX_DATA_BYTES

if TYPE_CHECKING:
    from flamepy.core.object_key import ObjectKey

__all__ = ["PATCHES_MAX", "ObjectIndex", "State"]

PATCHES_MAX: Final = 1000
"""Of one object, as upstream; who reads it from the start has to apply them all."""

_OBJECT_BYTES = 512  # what an object weighs besides its data, so that empty ones are bounded too
_PATCH_BYTES = 128


class State(NamedTuple):
    """What is new of an object: base None if only patches are. patches: (version, data) in their order."""

    version: int
    base: bytes | None
    patches: list[tuple[int, bytes]]


@dataclass(slots=True)
class _Object:
    base: bytes
    base_version: int
    patches: list[bytes] = field(default_factory=list)
    """The first one made the version base_version + 1."""
    size_bytes: int = 0

    @property
    def version(self) -> int:
        return self.base_version + len(self.patches)


class ObjectIndex:
    """All objects of one store, the least recently used ones first out when they weigh more than limit_bytes.

    Keys are full ones; whoever calls has read them with `ObjectKey`. No version is ever used twice for a
    key: one that comes back after it was removed begins above every version that was ever removed.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.evicted = 0
        """How many objects had to go."""
        self._objects: OrderedDict[str, _Object] = OrderedDict()
        """The one used last at the end."""
        self._by_prefix: dict[str, set[str]] = {}
        self._highest_removed = 0

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, key: ObjectKey, data: bytes) -> int:
        """A new object, which nobody can know of yet: version 1, whatever was removed before.

        The key must never have been used. Raises FlameError INVALID_ARGUMENT if data is too large for the store.
        """
        return self._write(key, data, 1)

    def update(self, key: ObjectKey, data: bytes) -> int:
        """A new base, which takes the place of base and patches. Returns the new version.

        There need not be such an object. Raises FlameError INVALID_ARGUMENT if data is too large for the store.
        """
        found = self._objects.get(str(key))
        return self._write(key, data, 1 + (self._highest_removed if found is None else found.version))

    def patch(self, key: ObjectKey, data: bytes) -> int:
        """One patch more. Returns the new version.

        Raises FlameError NOT_FOUND; INVALID_STATE if the object has all the patches, or the weight, it may have.
        """
        found = self._use(str(key))
        if len(found.patches) >= PATCHES_MAX:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"object {str(key)!r} has {PATCHES_MAX} patches, and no more are kept; replace it with update_object",
            )
        size = found.size_bytes + len(data) + _PATCH_BYTES
        if size > self._object_limit_bytes:
            raise FlameError(
                FlameErrorCode.INVALID_STATE,
                f"object {str(key)!r} would have {size} bytes with this patch, at most {self._object_limit_bytes}"
                " are kept; replace it with update_object",
            )
        found.patches.append(data)
        self._weigh(found, size)
        return found.version

    def get(self, key: ObjectKey, known: int = 0) -> State:
        """What is new since the version that the asker knows; everything for 0, or if that cannot be told.

        Raises FlameError NOT_FOUND.
        """
        found = self._use(str(key))
        if found.base_version <= known <= found.version:
            return State(found.version, None, _numbered(found, known))
        return State(found.version, found.base, _numbered(found, found.base_version))

    def delete(self, key: ObjectKey) -> int:
        """Remove all that the key names. Returns how many there were; none is no error."""
        keys = self._named(key)
        for each in keys:
            self._remove(each)
        return len(keys)

    # -- inside

    @property
    def _object_limit_bytes(self) -> int:
        return min(self.limit_bytes, MAX_DATA_BYTES)  # one message carries an object with all its patches

    def _write(self, key: ObjectKey, data: bytes, version: int) -> int:
        size = len(data) + _OBJECT_BYTES
        if size > self._object_limit_bytes:
            raise FlameError(
                FlameErrorCode.INVALID_ARGUMENT,
                f"object {str(key)!r}: {len(data)} bytes of data, at most"
                f" {self._object_limit_bytes - _OBJECT_BYTES} are kept here; split it",
            )
        name = str(key)
        old = self._objects.pop(name, None)
        if old is not None:
            self.held_bytes -= old.size_bytes
        new = self._objects[name] = _Object(data, version)
        self._by_prefix.setdefault(key.to_prefix(), set()).add(name)
        self._weigh(new, size)
        return version

    def _use(self, name: str) -> _Object:
        """Look one up; it is now the last to go. Raises FlameError NOT_FOUND."""
        found = self._objects.get(name)
        if found is None:
            raise FlameError(
                FlameErrorCode.NOT_FOUND,
                f"object {name!r} not found: it was deleted, had to make room for others, or never was here",
            )
        self._objects.move_to_end(name)
        return found

    def _weigh(self, used: _Object, size_bytes: int) -> None:
        """Note the weight of the object used last, and make room for it."""
        self.held_bytes += size_bytes - used.size_bytes
        used.size_bytes = size_bytes
        while self.held_bytes > self.limit_bytes:
            self._remove(next(iter(self._objects)))
            self.evicted += 1

    def _remove(self, name: str) -> None:
        removed = self._objects.pop(name)
        self.held_bytes -= removed.size_bytes
        self._highest_removed = max(self._highest_removed, removed.version)
        prefix = name.rpartition("/")[0]
        self._by_prefix[prefix].remove(name)
        if not self._by_prefix[prefix]:
            del self._by_prefix[prefix]

    def _named(self, key: ObjectKey) -> list[str]:
        if key.is_all_sessions():
            start = f"{key.app_name}/"
            return [name for prefix, names in self._by_prefix.items() if prefix.startswith(start) for name in names]
        if key.object_id is None:
            return list(self._by_prefix.get(key.to_prefix(), ()))
        return [str(key)] if str(key) in self._objects else []


def _numbered(found: _Object, known: int) -> list[tuple[int, bytes]]:
    """The patches behind a version."""
    return list(enumerate(found.patches[known - found.base_version :], known + 1))
