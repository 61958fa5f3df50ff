# SPDX-License-Identifier: Apache-2.0
"""From a key to what it stands for. Pure."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_READLINK, FLUX_KVS_TREEOBJ
from hearth.broker.credentials import ServiceError
from hearth.kvs.keys import split_key
from hearth.kvs.objects import Directory, Entry, Symlink, Value, value_wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LINKS_MAX", "look_up", "present"]

LINKS_MAX = 10
"""Symlinks in the way of one look-up; more are a loop."""


def look_up(root: Directory, root_of: Callable[[str], Directory], key: str, flags: int) -> Entry:
    """The entry of a key below a root; root_of gives the roots of namespaces that symlinks lead to.

    A link at the end is followed unless flags has READLINK or TREEOBJ. Raises ServiceError: EINVAL for
    READDIR with READLINK; ENOENT; ELOOP; what `split_key` and root_of raise.
    """
    if flags & FLUX_KVS_READDIR and flags & FLUX_KVS_READLINK:
        raise ServiceError(errno.EINVAL)
    keeps_link = flags & (FLUX_KVS_READLINK | FLUX_KVS_TREEOBJ)
    names = split_key(key)[::-1]
    entry: Entry = root
    links = 0
    while names:
        if not isinstance(entry, Directory):
            raise ServiceError(errno.ENOENT)
        found = entry.entries.get(names.pop())
        if found is None:
            raise ServiceError(errno.ENOENT)
        entry = found
        if isinstance(entry, Symlink) and (names or not keeps_link):
            links += 1
            if links > LINKS_MAX:
                raise ServiceError(errno.ELOOP)
            root = root if entry.namespace is None else root_of(entry.namespace)
            names += split_key(entry.target)[::-1]
            entry = root
    return entry


def present(entry: Entry, flags: int) -> bytes:
    """The tree object that answers a look-up with these flags.

    Raises ServiceError: EISDIR, ENOTDIR, EINVAL for READLINK on what is no link.
    """
    if flags & FLUX_KVS_TREEOBJ:
        return entry.wire
    if flags & FLUX_KVS_READLINK:
        if not isinstance(entry, Symlink):
            raise ServiceError(errno.EINVAL)
        return entry.wire
    if isinstance(entry, Directory):
        if not flags & FLUX_KVS_READDIR:
            raise ServiceError(errno.EISDIR)
        return entry.object_wire()
    if flags & FLUX_KVS_READDIR:
        raise ServiceError(errno.ENOTDIR)
    assert isinstance(entry, Value)
    return value_wire(entry.data())
