# SPDX-License-Identifier: Apache-2.0
"""How Python values become the bytes of an object: a tag of four bytes, then the body.

The tag ``FLM\\x00`` is cloudpickle. Bytes without a tag are a plain pickle, as older objects are. The
libraries are loaded by those with objects: together they take some 10 ms, which every service would pay.
"""

from __future__ import annotations

from typing import Any

from flamepy.core.types import FlameError, FlameErrorCode

__all__ = ["decode_value", "encode_value"]

_FAMILY = b"FLM"  # no pickle begins so: its F is a float, which goes on with a digit or a sign
_PICKLED = b"FLM\x00"
_ELSEWHERE = {1: "a NumPy array", 2: "an Arrow table", 3: "an Arrow array", 4: "an Arrow record batch"}


def encode_value(value: Any) -> bytes:
    """The bytes of any value that cloudpickle takes, functions and classes of `__main__` included."""
    import cloudpickle  # type: ignore[import-untyped]  # it comes without types

    body: bytes = cloudpickle.dumps(value)
    return _PICKLED + body


def decode_value(data: bytes) -> Any:
    """The value again; code in it runs, so data must come from somebody trusted.

    Raises FlameError INVALID_STATE for a tag that is not read here, and whatever unpickling raises.
    """
    import pickle

    if data[:4] == _PICKLED:
        return pickle.loads(memoryview(data)[4:])
    if data[:3] == _FAMILY and len(data) > 3:
        what = _ELSEWHERE.get(data[3], "of an unknown kind")
        raise FlameError(
            FlameErrorCode.INVALID_STATE,
            f"the object's tag is {data[:4]!r}: it is {what}, which cannot be read here; write it as a plain value",
        )
    return pickle.loads(data)
