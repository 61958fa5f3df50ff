# SPDX-License-Identifier: Apache-2.0
"""From the tree objects of a client, or of the disk, to entries. Pure."""

from __future__ import annotations

import base64
import binascii
import errno
import re
from typing import TYPE_CHECKING, Any

from hearth.broker.credentials import ServiceError
from hearth.kvs.keys import split_key
from hearth.kvs.objects import Blob, Directory, Entry, ReferencedValue, Symlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.kvs.objects import Content

__all__ = ["decode_entry", "directory_ref", "is_name"]

_NESTING_MAX = 64  # of directories written out in one tree object; deeper ones are made with keys
_is_ref = re.compile(r"sha1-[0-9a-f]{40}").fullmatch


def decode_entry(content: Content, tree_object: Any) -> Entry:
    """What a tree object stands for, put into the content.

    Raises ServiceError: EINVAL malformed, ENOENT refers to what is not there, EFBIG too large.
    """
    return _decode(content, tree_object, 0)


def _decode(content: Content, tree_object: Any, depth: int) -> Entry:
    if not isinstance(tree_object, dict) or tree_object.get("ver") != 1:
        raise _malformed("it is no object with ver 1")
    data = tree_object.get("data")
    kind = tree_object.get("type")
    if kind == "dir":
        return _directory(content, data, depth)
    decode = _DECODERS.get(kind) if isinstance(kind, str) else None
    if decode is None:
        raise _malformed("its type is unknown")
    return decode(content, data)


def _directory(content: Content, data: Any, depth: int) -> Directory:
    if not isinstance(data, dict) or depth == _NESTING_MAX:
        raise _malformed(f"a dir has entries, at most {_NESTING_MAX} deep")
    if not all(map(is_name, data)):
        raise _malformed("a name is empty or has a dot")
    return content.directory({name: _decode(content, entry, depth + 1) for name, entry in data.items()})


def is_name(name: str) -> bool:
    """Whether it can be one part of a key."""
    return bool(name) and "." not in name


def _value(content: Content, data: Any) -> Entry:
    try:
        return content.value(base64.b64decode(data, validate=True))
    except (TypeError, binascii.Error, ValueError):
        raise _malformed("a val has base64") from None


def _referenced_value(content: Content, data: Any) -> Entry:
    blobs: list[Blob] = [content.find_blob(ref) for ref in _refs(data)]
    return ReferencedValue(tuple(blobs))


def _referenced_directory(content: Content, data: Any) -> Entry:
    refs = _refs(data)
    if len(refs) != 1:
        raise _malformed("a dirref has one blobref")
    return content.find_directory(refs[0])


def _refs(data: Any) -> list[str]:
    if not isinstance(data, list) or not data or not all(isinstance(ref, str) and _is_ref(ref) for ref in data):
        raise _malformed("a reference is a list of blobrefs")
    return data


def _symlink(content: Content, data: Any) -> Entry:
    target = data.get("target") if isinstance(data, dict) else None
    namespace = data.get("namespace") if isinstance(data, dict) else None
    if not isinstance(target, str) or not isinstance(namespace, str | None):
        raise _malformed("a symlink has a target")
    split_key(target)
    return Symlink(target, namespace)


_DECODERS: dict[str, Callable[[Content, Any], Entry]] = {
    "val": _value,
    "valref": _referenced_value,
    "dirref": _referenced_directory,
    "symlink": _symlink,
}


def directory_ref(content: Content, tree_object: Any) -> Directory:
    """The directory of a dirref. Raises ServiceError: EINVAL for anything else, ENOENT if it is gone."""
    entry = decode_entry(content, tree_object)
    if not isinstance(entry, Directory):
        raise _malformed("it is no dirref")
    return entry


def _malformed(why: str) -> ServiceError:
    return ServiceError(errno.EINVAL, f"malformed tree object: {why}")
