# SPDX-License-Identifier: Apache-2.0
"""What the store holds: immutable entries and objects, each object known by the hash of its bytes. Pure.

Trees share what they have in common, and an object lives as long as a tree, old or new, leads to it: a key that is
overwritten for ever leaves nothing behind once the old roots are dropped.
"""

from __future__ import annotations

import base64
import errno
import hashlib
from typing import TYPE_CHECKING, Literal, NoReturn
from weakref import WeakValueDictionary

import msgspec

from hearth.broker.credentials import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "INLINE_MAX_BYTES",
    "OBJECT_MAX_BYTES",
    "Blob",
    "Content",
    "Directory",
    "Entry",
    "InlineValue",
    "ObjectKind",
    "ReferencedValue",
    "Symlink",
    "Value",
    "ref_of",
    "value_wire",
]

INLINE_MAX_BYTES = 54
"""A longer value is an object of its own. 72 characters of base64, as in flux-core."""
OBJECT_MAX_BYTES = 16 << 20
"""Of a value, or a directory with the small values in it. In base64 it fits thrice in what a connection may be owed."""

ObjectKind = Literal["blob", "directory"]

_OBJECT_OVERHEAD_BYTES = 512  # what an object takes in memory besides its bytes, measured with tracemalloc
_ENTRY_OVERHEAD_BYTES = 64  # and each entry of a directory

_json = msgspec.json.Encoder(order="sorted")
_name = msgspec.json.Encoder().encode


def ref_of(data: bytes) -> str:
    """The blobref of some bytes."""
    return f"sha1-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"


def value_wire(data: bytes) -> bytes:
    """The tree object of a value with all its bytes."""
    return b'{"data":"%s","type":"val","ver":1}' % base64.b64encode(data)


def _tree_object(kind: str, data: object) -> bytes:
    return _json.encode({"data": data, "type": kind, "ver": 1})


class Entry:
    """What a name in a directory stands for. wire: its tree object, canonical, as it stands in the directory."""

    __slots__ = ("__weakref__", "wire")

    wire: bytes


class Value(Entry):
    """Bytes, in the pieces that were put and appended."""

    __slots__ = ()

    def pieces(self) -> tuple[bytes, ...]:
        """At least one."""
        raise NotImplementedError

    def data(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces())


class InlineValue(Value):
    """At most INLINE_MAX_BYTES."""

    __slots__ = ()

    def __init__(self, data: bytes) -> None:
        self.wire = value_wire(data)

    def pieces(self) -> tuple[bytes, ...]:  # noqa: D102 as above
        return (base64.b64decode(msgspec.json.decode(self.wire)["data"]),)


class ReferencedValue(Value):
    """A value in one or more objects. Raises ServiceError EFBIG beyond OBJECT_MAX_BYTES, or that many references."""

    __slots__ = ("blobs",)

    def __init__(self, blobs: tuple[Blob, ...]) -> None:
        self.blobs = blobs
        self.wire = _tree_object("valref", [blob.ref for blob in blobs])
        _require_size(sum(len(blob.data) for blob in blobs) + len(self.wire))

    def pieces(self) -> tuple[bytes, ...]:  # noqa: D102 as above
        return tuple(blob.data for blob in self.blobs)


class Symlink(Entry):
    """Another key that is meant, from the root of its namespace, None for the one the link is in."""

    __slots__ = ("namespace", "target")

    def __init__(self, target: str, namespace: str | None = None) -> None:
        self.target, self.namespace = target, namespace
        data = {"target": target} if namespace is None else {"namespace": namespace, "target": target}
        self.wire = _tree_object("symlink", data)


class Blob:
    """An object that is (a piece of) a value."""

    __slots__ = ("__weakref__", "_content", "data", "ref")

    def __init__(self, content: Content, ref: str, data: bytes) -> None:
        self._content, self.ref, self.data = content, ref, data

    def __del__(self) -> None:
        self._content.on_dropped("blob", self.ref, len(self.data))


class Directory(Entry):
    """An object that gives names to entries; as an entry it is a reference to itself."""

    __slots__ = ("_content", "entries", "ref", "size_bytes")

    def __init__(self, content: Content, entries: Mapping[str, Entry], ref: str, size_bytes: int) -> None:
        self._content, self.entries, self.ref, self.size_bytes = content, entries, ref, size_bytes
        self.wire = _tree_object("dirref", [ref])

    def object_wire(self) -> bytes:
        """The tree object with everything that is in it."""
        return _directory_wire(self.entries)

    def __del__(self) -> None:
        self._content.on_dropped("directory", self.ref, self.size_bytes)


def _directory_wire(entries: Mapping[str, Entry]) -> bytes:
    items = (b"%s:%s" % (_name(name), entries[name].wire) for name in sorted(entries))
    return b'{"data":{%s},"type":"dir","ver":1}' % b",".join(items)


class Content:
    """All objects that are alive, each once.

    Raises ServiceError EFBIG for what would be over OBJECT_MAX_BYTES.
    """

    def __init__(self) -> None:
        self._blobs: WeakValueDictionary[str, Blob] = WeakValueDictionary()
        self._directories: WeakValueDictionary[str, Directory] = WeakValueDictionary()
        self.size_bytes = 0
        """Of all objects together, with what they take besides."""
        self.changes: dict[tuple[ObjectKind, str], bytes | None] = {}
        """Since they were cleared last: objects that came, and None for those that went."""
        self.empty = self.directory({})

    def blob(self, data: bytes) -> Blob:
        """The object of these bytes."""
        ref = ref_of(data)
        blob = self._blobs.get(ref)
        if blob is None:
            _require_size(len(data))
            blob = self._blobs[ref] = Blob(self, ref, data)
            self._on_made("blob", ref, data, len(data))
        return blob

    def directory(self, entries: Mapping[str, Entry]) -> Directory:
        """The object that gives these names. The mapping is the directory's from now on."""
        wire = _directory_wire(entries)
        ref = ref_of(wire)
        directory = self._directories.get(ref)
        if directory is None:
            _require_size(len(wire))
            size_bytes = len(wire) + _ENTRY_OVERHEAD_BYTES * len(entries)
            directory = self._directories[ref] = Directory(self, entries, ref, size_bytes)
            self._on_made("directory", ref, wire, size_bytes)
        return directory

    def value(self, data: bytes) -> Value:
        """An entry for a value that is put as a whole."""
        return InlineValue(data) if len(data) <= INLINE_MAX_BYTES else ReferencedValue((self.blob(data),))

    def appended(self, value: Value, data: bytes) -> Value:
        """The value with one piece more."""
        head = value.blobs if isinstance(value, ReferencedValue) else tuple(map(self.blob, value.pieces()))
        return ReferencedValue((*head, self.blob(data)))

    def find_blob(self, ref: str) -> Blob:
        """Raises ServiceError ENOENT for one that is not here, or no longer."""
        return self._blobs.get(ref) or _missing(ref)

    def find_directory(self, ref: str) -> Directory:
        """Raises ServiceError ENOENT for one that is not here, or no longer."""
        return self._directories.get(ref) or _missing(ref)

    def _on_made(self, kind: ObjectKind, ref: str, data: bytes, size_bytes: int) -> None:
        self.size_bytes += size_bytes + _OBJECT_OVERHEAD_BYTES
        self._on_changed(kind, ref, data)

    def on_dropped(self, kind: ObjectKind, ref: str, size_bytes: int) -> None:
        """Called by an object when nothing leads to it any more."""
        self.size_bytes -= size_bytes + _OBJECT_OVERHEAD_BYTES
        self._on_changed(kind, ref, None)

    def _on_changed(self, kind: ObjectKind, ref: str, data: bytes | None) -> None:
        """What came and went again, or went and came again, has not changed."""
        if (kind, ref) in self.changes:
            del self.changes[kind, ref]
        else:
            self.changes[kind, ref] = data

    def __len__(self) -> int:
        return len(self._blobs) + len(self._directories)

    def __iter__(self) -> Iterator[tuple[ObjectKind, str]]:
        """What is alive."""
        yield from (("blob", ref) for ref in tuple(self._blobs))
        yield from (("directory", ref) for ref in tuple(self._directories))


def _missing(ref: str) -> NoReturn:
    raise ServiceError(errno.ENOENT, f"{ref[:45]} is not in the store")


def _require_size(size_bytes: int) -> None:
    if size_bytes > OBJECT_MAX_BYTES:
        raise ServiceError(errno.EFBIG, f"over {OBJECT_MAX_BYTES >> 20} MiB in one value or directory")
