# SPDX-License-Identifier: Apache-2.0
"""Looking a key up, and what the bytes of a value mean."""

from __future__ import annotations

import base64
import errno
import json
import os
from typing import TYPE_CHECKING, Any

from flux.errors import named_error

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["decode_value", "exists", "isdir", "look_up", "namespace_or_default", "require_key"]


def namespace_or_default(namespace: str | None) -> str:
    """The namespace itself, or that of FLUX_KVS_NAMESPACE in the environment, or ``primary``."""
    return namespace or os.environ.get("FLUX_KVS_NAMESPACE") or "primary"


def require_key(key: str) -> str:
    """The key. Raises OSError (EINVAL) for the empty one."""
    if not key:
        raise named_error(errno.EINVAL)
    return key


def look_up(flux_handle: Flux, key: str, namespace: str | None, flags: int = 0) -> dict[str, Any]:
    """The tree object of a key, as flags ask for it: {"ver": 1, "type": …, "data": …}.

    Raises OSError: EINVAL for an empty key, ENOENT, EISDIR without FLUX_KVS_READDIR, ENOTDIR with it, ENOTSUP
    for a namespace that does not exist.
    """
    request = {"key": require_key(key), "namespace": namespace_or_default(namespace), "flags": flags}
    found: dict[str, Any] = flux_handle.rpc("kvs.lookup", request).get()["val"]
    return found


def decode_value(tree_object: dict[str, Any]) -> Any:
    """A value as `put` was given it: what its JSON says; if it is none, its text; if it is no UTF-8, its bytes."""
    data = base64.b64decode(tree_object["data"])
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested too deeply for it
        return text


def exists(flux_handle: Flux, key: str, namespace: str | None = None) -> bool:
    """Whether there is a value or a directory; a symlink is as good as what it leads to. Raises as `look_up`."""
    return _kind_of(flux_handle, key, namespace) is not None


def isdir(flux_handle: Flux, key: str, namespace: str | None = None) -> bool:
    """Whether there is a directory, or a symlink to one. Raises as `look_up`."""
    return _kind_of(flux_handle, key, namespace) == "dir"


def _kind_of(flux_handle: Flux, key: str, namespace: str | None) -> str | None:
    try:
        look_up(flux_handle, key, namespace)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return "dir"
    return "val"
