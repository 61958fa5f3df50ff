# SPDX-License-Identifier: Apache-2.0
"""A reference to an object, to be handed around in place of its bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from flamepy.core import bson

__all__ = ["ObjectRef"]


@dataclass
class ObjectRef:
    """Where an object is: endpoint is the instance that holds it, key is ``<app>/<session>/<object>``.

    version is the one at the time of writing. It pins nothing: `get_object` gives the newest state.
    Version 0 asks it to fetch everything anew.
    """

    endpoint: str
    key: str
    version: int = 0

    def encode(self) -> bytes:
        """A BSON document, ``{endpoint: string, key: string, version: int}``: fit for common data and task inputs."""
        return bson.encode(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> ObjectRef:
        """The reverse of `encode`. Raises ValueError if these bytes are no reference."""
        fields = bson.decode(data)
        endpoint, key, version = (fields.pop(name, default) for name, default in _DEFAULTS.items())
        if fields or not isinstance(endpoint, str) or not isinstance(key, str) or not isinstance(version, int):
            raise ValueError("a BSON document, but no object reference: want endpoint and key as texts, version as int")
        return cls(endpoint, key, version)


_DEFAULTS = {"endpoint": None, "key": None, "version": 0}
