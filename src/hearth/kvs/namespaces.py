# SPDX-License-Identifier: Apache-2.0
"""The namespaces: each a tree of its own, with a root that every commit replaces. Pure.

An old root stays for a while, so that who has its reference may still look there: the last OLD_ROOTS_MAX of each
namespace, fewer when memory is short.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from hearth.broker.credentials import ServiceError
from hearth.kvs.commit import apply_operations
from hearth.kvs.objects import Content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearth.kvs.commit import Operation
    from hearth.kvs.objects import Directory

__all__ = ["NAMESPACES_MAX", "OLD_ROOTS_MAX", "PRIMARY", "STORE_MAX_BYTES", "Namespace", "Namespaces"]

PRIMARY = "primary"
"""The namespace that is always there."""
OLD_ROOTS_MAX = 64
"""Commits after which the root that a client has got is gone at the latest."""
STORE_MAX_BYTES = 256 << 20
"""Of all values and directories, which are held in memory."""
NAMESPACES_MAX = 1024
_NAME_MAX_BYTES = 255  # it becomes part of a topic
_LEAN_BYTES = STORE_MAX_BYTES // 2  # above it no old roots are kept


class Namespace(NamedTuple):
    """One state of a namespace; sequence counts its commits."""

    name: str
    owner: int
    flags: int
    root: Directory
    sequence: int = 0
    old: tuple[Directory, ...] = ()
    """Roots before this one, the newest last."""


class Namespaces:
    """The newest state of each. `primary` belongs to owner."""

    def __init__(self, owner: int) -> None:
        self.content = Content()
        self._states = {PRIMARY: Namespace(PRIMARY, owner, 0, self.content.empty)}

    def get(self, name: str) -> Namespace:
        """Raises ServiceError ENOTSUP if there is none of that name."""
        state = self._states.get(name)
        if state is None:
            raise ServiceError(errno.ENOTSUP)
        return state

    def root_of(self, name: str) -> Directory:
        """The newest root. Raises as `get`."""
        return self.get(name).root

    def all(self) -> dict[str, Namespace]:
        """A copy of the table, to be given to `restore` should nothing that follows have happened."""
        return dict(self._states)

    def restore(self, states: dict[str, Namespace]) -> None:
        """Make this the table."""
        self._states = dict(states)

    def commit(self, name: str, operations: Sequence[Operation]) -> Namespace:
        """Apply the operations, all or none; even none make a new sequence number.

        Raises ServiceError: ENOSPC when the store is full, unless all are unlinks, and as `get` and
        `apply_operations` do.
        """
        before = self.get(name)
        root = apply_operations(self.content, name, before.root, operations)
        self._states[name] = before._replace(
            root=root, sequence=before.sequence + 1, old=(*before.old, before.root)[-OLD_ROOTS_MAX:]
        )
        if self.content.size_bytes > _LEAN_BYTES:
            self._forget_old_roots()
        if self.content.size_bytes > STORE_MAX_BYTES and not all(asked.dirent is None for asked in operations):
            self._states[name] = before
            raise ServiceError(errno.ENOSPC, f"the store is full, over {STORE_MAX_BYTES >> 20} MiB: unlink something")
        return self._states[name]

    def _forget_old_roots(self) -> None:
        self._states = {name: state._replace(old=()) for name, state in self._states.items()}

    def create(self, name: str, owner: int, root_ref: str) -> Namespace:
        """Raises ServiceError: EEXIST; EINVAL not a name; ENOENT the root is not here; ENOSPC too many."""
        if name in self._states:
            raise ServiceError(errno.EEXIST)
        if not name or "\0" in name or len(name.encode()) > _NAME_MAX_BYTES:
            raise ServiceError(errno.EINVAL, f"a namespace has a name of 1 to {_NAME_MAX_BYTES} bytes")
        if len(self._states) >= NAMESPACES_MAX:
            raise ServiceError(errno.ENOSPC, f"there are {NAMESPACES_MAX} namespaces, remove some first")
        self._states[name] = Namespace(name, owner, 0, self.content.find_directory(root_ref))
        return self._states[name]

    def remove(self, name: str) -> bool:
        """False if there was none. Raises ServiceError ENOTSUP for `primary`."""
        if name == PRIMARY:
            raise ServiceError(errno.ENOTSUP)
        return self._states.pop(name, None) is not None
