# SPDX-License-Identifier: Apache-2.0
"""Addresses of enclosing instances: ``.`` for one's own, ``..`` for its parent, ``/`` for the outermost."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from flux import connector
from flux.errors import InvalidArguments

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from flux.core.services import ServiceMethods

__all__ = ["resolve", "resolving"]


def resolve(url: str | bytes | None, connect: Callable[[str], AbstractContextManager[ServiceMethods]]) -> str:
    """The URI that a handle's url means; instances on the way are asked for their parents.

    Raises OSError (EINVAL) for a path of anything but ``.`` and ``..``, TypeError for what is no text, and as
    `connect` does.
    """
    steps = resolving(url)
    try:
        uri = next(steps)
        while True:
            uri = steps.send(_parent(uri, connect))
    except StopIteration as found:
        return str(found.value)


def resolving(url: str | bytes | None) -> Generator[str, str | None, str]:
    """The way to that URI: yields that of an instance, and wants its parent's, None for the outermost; returns it."""
    if url is None:
        return connector.default_uri()
    if isinstance(url, bytes):
        url = os.fsdecode(url)
    if not isinstance(url, str):
        raise InvalidArguments(f"url: want str or bytes, not {type(url)}")
    if not url.startswith((".", "/")):
        return url
    uri = connector.default_uri()
    if url == "/":
        while (parent := (yield uri)) is not None:
            uri = parent
        return uri
    for _ in range(_generations(url)):
        uri = (yield uri) or uri
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
