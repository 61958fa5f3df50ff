# SPDX-License-Identifier: Apache-2.0
"""Addresses of enclosing instances: ``.`` for one's own, ``..`` for its parent, ``/`` for the outermost."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from flux import connector

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from flux.core.services import ServiceMethods

__all__ = ["resolve"]


def resolve(url: str | None, connect: Callable[[str], AbstractContextManager[ServiceMethods]]) -> str:
    """The URI that a handle's url means; instances on the way are asked for their parents.

    Raises OSError (EINVAL) for a path of anything but ``.`` and ``..``, and as `connect` does.
    """
    if url is None:
        return connector.default_uri()
    if not url.startswith((".", "/")):
        return url
    uri = connector.default_uri()
    if url == "/":
        while (parent := _parent(uri, connect)) is not None:
            uri = parent
        return uri
    for _ in range(_generations(url)):
        uri = _parent(uri, connect) or uri
    return uri


def _generations(path: str) -> int:
    """How many instances up a path goes."""
    if path.startswith("/"):
        raise connector.connect_error(errno.EINVAL, f"{path}: invalid URI")
    elements = path.split("/")
    for element in elements:
        if element not in ("", ".", ".."):
            raise connector.connect_error(errno.EINVAL, f"{path}: invalid URI path element '{element}'")
    return elements.count("..")


def _parent(uri: str, connect: Callable[[str], AbstractContextManager[ServiceMethods]]) -> str | None:
    with connect(uri) as handle:
        return handle.attr_get("parent-uri") if int(handle.attr_get("instance-level")) else None
