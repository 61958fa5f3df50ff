# SPDX-License-Identifier: Apache-2.0
"""Changes that are collected, then made together or not at all."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flux.constants import FLUX_KVS_TXN_COMPACT
from flux.core.future_ext import FutureExt
from flux.kvs.lookup import namespace_or_default, require_key

if TYPE_CHECKING:
    from typing_extensions import Self

    from flux.core.future import Future
    from flux.core.handle import Flux

__all__ = ["KVSTxn", "commit", "commit_async", "join_key", "put", "put_mkdir", "put_symlink", "put_unlink"]


def join_key(path: str, key: str) -> str:
    """The key below a directory, ``.`` the root."""
    return key if path == "." else f"{path}.{key}"


class KVSTxn:
    """A transaction of its own; keys are relative to path. A ``with`` block commits at its end, unless it raises.

    It belongs to one thread; several on one handle do not disturb each other.

    Commits to namespace, by default that of FLUX_KVS_NAMESPACE or ``primary``. Raises ValueError without a handle.
    """

    def __init__(self, flux_handle: Flux | None = None, path: str = ".", namespace: str | None = None) -> None:
        if flux_handle is None:
            raise ValueError("flux_handle must be a Flux object, got None")
        self.fhdl = flux_handle
        self.path = path
        self.namespace = namespace
        self.operations: list[dict[str, Any]] = []
        """What is staged, as kvs.commit takes it."""

    def put(self, key: str, value: Any, raw: bool = False) -> None:
        """See the function `put`."""
        put(self.fhdl, join_key(self.path, require_key(key)), value, raw, _kvstxn=self)

    def mkdir(self, key: str) -> None:
        """See `put_mkdir`."""
        put_mkdir(self.fhdl, join_key(self.path, require_key(key)), _kvstxn=self)

    def unlink(self, key: str) -> None:
        """See `put_unlink`."""
        put_unlink(self.fhdl, join_key(self.path, require_key(key)), _kvstxn=self)

    def symlink(self, key: str, target: str) -> None:
        """See `put_symlink`; the target is not relative."""
        put_symlink(self.fhdl, join_key(self.path, require_key(key)), target, _kvstxn=self)

    def commit(self, flags: int = 0) -> int:
        """See the function `commit`."""
        return commit(self.fhdl, flags, _kvstxn=self)

    def commit_async(self, flags: int = 0) -> Future:
        """See the function `commit_async`."""
        return commit_async(self.fhdl, flags, _kvstxn=self)

    def clear(self) -> None:
        """Drop what is staged."""
        self.operations.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.clear()


_of_handle: WeakKeyDictionary[Flux, list[dict[str, Any]]] = WeakKeyDictionary()
"""What is staged on a handle by the functions below without a transaction, by all its threads."""


def _staged(flux_handle: Flux, txn: KVSTxn | None) -> list[dict[str, Any]]:
    return _of_handle.setdefault(flux_handle, []) if txn is None else txn.operations


def _stage(flux_handle: Flux, key: str, dirent: dict[str, Any] | None, txn: KVSTxn | None) -> None:
    _staged(flux_handle, txn).append({"key": require_key(key), "flags": 0, "dirent": dirent})


def put(flux_handle: Flux, key: str, value: Any, raw: bool = False, _kvstxn: KVSTxn | None = None) -> None:
    """Stage a value: bytes as they are, all else as JSON; raw: a str as its UTF-8.

    Raises OSError (EINVAL) for an empty key, TypeError for what JSON cannot say, AttributeError for raw of what is
    neither str nor bytes.
    """
    require_key(key)
    if not isinstance(value, bytes):
        text: str = value if raw else json.dumps(value)
        value = text.encode()
    _stage(flux_handle, key, _tree_object("val", base64.b64encode(value).decode()), _kvstxn)


def put_mkdir(flux_handle: Flux, key: str, _kvstxn: KVSTxn | None = None) -> None:
    """Stage an empty directory, in place of whatever is there. Raises OSError (EINVAL) for an empty key."""
    _stage(flux_handle, key, _tree_object("dir", {}), _kvstxn)


def put_unlink(flux_handle: Flux, key: str, _kvstxn: KVSTxn | None = None) -> None:
    """Stage the removal of a key, which may be missing, and of all below it. An empty key is OSError (EINVAL)."""
    _stage(flux_handle, key, None, _kvstxn)


def put_symlink(flux_handle: Flux, key: str, target: str, _kvstxn: KVSTxn | None = None) -> None:
    """Stage a link to another key, which may be missing. Raises OSError (EINVAL) for an empty key."""
    _stage(flux_handle, key, _tree_object("symlink", {"target": target}), _kvstxn)


def _tree_object(kind: str, data: Any) -> dict[str, Any]:
    return {"ver": 1, "type": kind, "data": data}


def commit(flux_handle: Flux, flags: int = 0, namespace: str | None = None, _kvstxn: KVSTxn | None = None) -> int:
    """Make what is staged so, all or nothing; returns 0 when it is stored.

    flags: FLUX_KVS_NO_MERGE, FLUX_KVS_TXN_COMPACT, FLUX_KVS_SYNC (wait for the disk). Nothing is sent if nothing is
    staged, and nothing is staged any more even if it fails. Raises OSError: EINVAL for the root as a key, ENOTSUP for
    a namespace that does not exist, EFBIG, ENAMETOOLONG and ENOSPC beyond the bounds of the store, EIO when the disk
    takes nothing. What was staged without a transaction is all that the handle's threads have staged.
    """
    commit_async(flux_handle, flags, namespace, _kvstxn).get()
    return 0


def commit_async(
    flux_handle: Flux, flags: int = 0, namespace: str | None = None, _kvstxn: KVSTxn | None = None
) -> Future:
    """`commit` as a future: {"rootseq", "rootref"} of the tree that it made, None if nothing was staged."""
    staged = _staged(flux_handle, _kvstxn)
    operations = staged[:]
    del staged[: len(operations)]  # another thread may have staged more
    if not operations:
        return FutureExt(lambda future: future.fulfill(None), flux_handle=flux_handle)
    if namespace is None and _kvstxn is not None:
        namespace = _kvstxn.namespace
    request = {
        "ops": operations,
        "namespace": namespace_or_default(namespace),
        "flags": flags & ~FLUX_KVS_TXN_COMPACT,  # which is done before sending, and only for what is appended
    }
    return flux_handle.rpc("kvs.commit", request)
