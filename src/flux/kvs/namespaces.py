# SPDX-License-Identifier: Apache-2.0
"""Namespaces: trees beside the primary one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["namespace_create", "namespace_list", "namespace_remove"]

_EMPTY = b'{"data":{},"type":"dir","ver":1}'
_ME = -1


def namespace_create(flux_handle: Flux, namespace: str, owner: int = _ME, flags: int = 0) -> None:
    """Make an empty namespace. owner: a userid, by default our own. flags: unused, as upstream.

    Raises FileExistsError, OSError: EINVAL for a name over 255 bytes, ENOSPC for one namespace too many.
    """
    algorithm = flux_handle.attr_get("content.hash")
    empty = f"{algorithm}-{hashlib.new(algorithm, _EMPTY, usedforsecurity=False).hexdigest()}"
    request = {"namespace": namespace, "rootref": empty, "owner": owner, "flags": flags}
    flux_handle.rpc("kvs.namespace-create", request, nodeid=0).get()


def namespace_remove(flux_handle: Flux, namespace: str) -> None:
    """Remove a namespace, which may be missing, with all that is in it. Raises OSError (ENOTSUP) for ``primary``."""
    flux_handle.rpc("kvs.namespace-remove", {"namespace": namespace}, nodeid=0).get()


def namespace_list(flux_handle: Flux) -> list[str]:
    """The names of all namespaces."""
    return [found["namespace"] for found in flux_handle.rpc("kvs.namespace-list").get()["namespaces"]]
