# SPDX-License-Identifier: Apache-2.0
"""As much of BSON (bsonspec.org, version 1.1) as an object reference needs: a flat document of texts and integers.

Upstream uses a package of 6 MB for this. Sizes and integers are little-endian.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["decode", "encode"]

_TEXT: Final = 0x02
_INT32: Final = 0x10
_INT64: Final = 0x12

_int32 = struct.Struct("<i")
_int64 = struct.Struct("<q")
_SMALLEST_DOCUMENT = 5  # its size, and the closing NUL


def encode(document: Mapping[str, str | int]) -> bytes:
    """One document. An integer takes 32 bits if it fits, else 64, as pymongo writes it.

    Raises OverflowError for an integer over 64 bits.
    """
    body = b"".join(_encode_element(name, value) for name, value in document.items())
    return _int32.pack(_SMALLEST_DOCUMENT + len(body)) + body + b"\0"


def _encode_element(name: str, value: str | int) -> bytes:
    key = name.encode() + b"\0"
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return bytes([_TEXT]) + key + _int32.pack(len(text)) + text
    if -(1 << 31) <= value < 1 << 31:
        return bytes([_INT32]) + key + _int32.pack(value)
    if -(1 << 63) <= value < 1 << 63:
        return bytes([_INT64]) + key + _int64.pack(value)
    raise OverflowError(f"field {name!r}: {value} has over 64 bits")


def decode(data: bytes) -> dict[str, str | int]:
    """The fields of one document. Raises ValueError for any other bytes, also for types that are not read here."""
    if len(data) < _SMALLEST_DOCUMENT or _int32.unpack_from(data)[0] != len(data) or data[-1]:
        raise ValueError(f"no BSON document of {len(data)} bytes")
    fields: dict[str, str | int] = {}
    at, end = _int32.size, len(data) - 1
    try:
        while at < end:
            name_end = data.index(0, at + 1, end)
            name = data[at + 1 : name_end].decode()
            fields[name], at = _decode_value(data, data[at], name_end + 1)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"malformed BSON document: {error}") from None
    if at != end:
        raise ValueError(f"malformed BSON document: its last field ends at {at}, want {end}")
    return fields


def _decode_value(data: bytes, kind: int, at: int) -> tuple[str | int, int]:
    """A value, and where the next element begins."""
    if kind == _INT32:
        return _int32.unpack_from(data, at)[0], at + _int32.size
    if kind == _INT64:
        return _int64.unpack_from(data, at)[0], at + _int64.size
    if kind != _TEXT:
        raise ValueError(f"type {kind:#04x} is no text and no integer")
    size = _int32.unpack_from(data, at)[0]
    begin, end = at + _int32.size, at + _int32.size + size
    if size < 1 or end > len(data) or data[end - 1]:
        raise ValueError(f"a text of {size} bytes does not end in NUL")
    return data[begin : end - 1].decode(), end
