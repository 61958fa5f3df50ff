# SPDX-License-Identifier: Apache-2.0
"""From one tree to the next: the operations of a commit, applied in order, all or none. Pure."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, cast

import msgspec

from flux.constants import FLUX_KVS_APPEND
from hearth.broker.credentials import ServiceError
from hearth.kvs.dirents import decode_entry
from hearth.kvs.keys import split_key
from hearth.kvs.lookup import LINKS_MAX
from hearth.kvs.objects import Content, Directory, Symlink, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearth.kvs.objects import Entry

__all__ = ["Operation", "apply_operations", "named_keys"]


class Operation(msgspec.Struct):
    """dirent: a tree object, None to unlink. flags: 0 or APPEND."""

    key: str
    flags: int
    dirent: Any


class _Draft:
    """A directory that is being changed."""

    def __init__(self, directory: Directory) -> None:
        self.entries: dict[str, Entry | _Draft] = dict(directory.entries)


def named_keys(operations: Sequence[Operation]) -> dict[str, None]:
    """The keys that the operations name, as `split_key` reads them, each once."""
    return {".".join(split_key(operation.key)): None for operation in operations}


def apply_operations(content: Content, namespace: str, root: Directory, operations: Sequence[Operation]) -> Directory:
    """The root after the operations.

    A value in the way becomes a directory; a link in the way is followed. Raises ServiceError: EINVAL for the
    root as key, a malformed dirent, a link in the way that leaves the namespace; ELOOP; EISDIR and ENOTSUP for
    appending to a directory and to a link; ENOENT for a reference to what is not there; EFBIG.
    """
    return _Commit(content, namespace, root).run(operations)


class _Commit:
    """Copies of the directories that change, made once however many operations there are."""

    def __init__(self, content: Content, namespace: str, root: Directory) -> None:
        self._content = content
        self._namespace = namespace
        self._root = _Draft(root)
        self._made: list[tuple[_Draft, str, _Draft]] = []
        """Parent, name and draft, parents first."""

    def run(self, operations: Sequence[Operation]) -> Directory:
        for operation in operations:
            self._apply(operation)
        for parent, name, draft in reversed(self._made):
            if parent.entries.get(name) is draft:  # else it was unlinked or replaced later
                parent.entries[name] = self._freeze(draft)
        return self._freeze(self._root)

    def _freeze(self, draft: _Draft) -> Directory:
        """The directory; the drafts that were in it are frozen already."""
        return self._content.directory(cast("dict[str, Entry]", draft.entries))

    def _apply(self, operation: Operation) -> None:
        names = split_key(operation.key)
        if not names:
            raise ServiceError(errno.EINVAL, "the root cannot be written")
        entry = None if operation.dirent is None else decode_entry(self._content, operation.dirent)
        draft = self._directory_of(names, make=entry is not None)
        if draft is None:
            return
        if entry is None:
            draft.entries.pop(names[-1], None)
        elif operation.flags & FLUX_KVS_APPEND:
            draft.entries[names[-1]] = self._appended(draft.entries.get(names[-1]), entry)
        else:
            draft.entries[names[-1]] = entry

    def _directory_of(self, names: list[str], *, make: bool) -> _Draft | None:
        """Where the last of the names belongs; None if it is not there and not to be made.

        names is left with the way that was gone in the end, which links may have changed.
        """
        draft, at, links = self._root, 0, 0
        while at < len(names) - 1:
            found = draft.entries.get(names[at])
            if isinstance(found, Symlink):
                links += 1
                names[: at + 1] = self._target(found, links)
                draft, at = self._root, 0
                continue
            if not make and not isinstance(found, Directory | _Draft):
                return None
            draft = self._open(draft, names[at])
            at += 1
        return draft

    def _target(self, link: Symlink, links: int) -> list[str]:
        if links > LINKS_MAX:
            raise ServiceError(errno.ELOOP)
        if link.namespace not in (None, self._namespace):
            raise ServiceError(errno.EINVAL, "a symlink in the way leads to another namespace")
        return split_key(link.target)

    def _open(self, parent: _Draft, name: str) -> _Draft:
        """The draft of a directory, which is made if there is none."""
        found = parent.entries.get(name)
        if isinstance(found, _Draft):
            return found
        draft = _Draft(found if isinstance(found, Directory) else self._content.empty)
        parent.entries[name] = draft
        self._made.append((parent, name, draft))
        return draft

    def _appended(self, present: Entry | _Draft | None, entry: Entry) -> Entry:
        if not isinstance(entry, Value):
            raise ServiceError(errno.EINVAL, "only values can be appended")
        if present is None:
            return entry
        if isinstance(present, Symlink):
            raise ServiceError(errno.ENOTSUP)
        if not isinstance(present, Value):
            raise ServiceError(errno.EISDIR)
        return self._content.appended(present, entry.data())
