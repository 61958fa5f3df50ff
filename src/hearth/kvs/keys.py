# SPDX-License-Identifier: Apache-2.0
"""Keys: names joined by dots. Pure."""

from __future__ import annotations

import errno

from hearth.broker.credentials import ServiceError

__all__ = ["KEY_MAX_BYTES", "split_key"]

KEY_MAX_BYTES = 4096
"""As a path of a file system: a commit writes one object for each of a key's directories."""


def split_key(key: str) -> list[str]:
    """The names of a key; none for ``.``, the root. Dots in front, behind, or repeated mean nothing.

    Raises ServiceError: EINVAL for the empty key, ENAMETOOLONG beyond KEY_MAX_BYTES.
    """
    if not key:
        raise ServiceError(errno.EINVAL, "the key is empty")
    if len(key) > KEY_MAX_BYTES or len(key.encode()) > KEY_MAX_BYTES:
        raise ServiceError(errno.ENAMETOOLONG, f"the key is over {KEY_MAX_BYTES} bytes")
    return [name for name in key.split(".") if name]
