# SPDX-License-Identifier: Apache-2.0
"""Payloads as services read and write them: a JSON object with a NUL behind it, raw msgpack, or plain bytes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from hearth.broker.credentials import ServiceError

if TYPE_CHECKING:
    from flux.packet import Packet

__all__ = [
    "JsonPayload",
    "MsgpackPayload",
    "OptionalJson",
    "Payload",
    "UnreadJson",
    "as_utf8",
    "encode_json",
    "no_payload",
    "raw_payload",
]

_T = TypeVar("_T")
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no value, strings that are no UTF-8, and nesting without end."""


class Payload(Generic[_T]):
    """How one method's request payload is read."""

    def decode(self, request: Packet) -> _T:
        """The value of the payload. Raises ServiceError EPROTO if it is not what the method wants."""
        raise NotImplementedError


class JsonPayload(Payload[_T]):
    """A JSON object of the given type. Bytes behind the first NUL are ignored, unknown keys too."""

    def __init__(self, type_: type[_T]) -> None:
        self._decoder = msgspec.json.Decoder(type_)

    def decode(self, request: Packet) -> _T:  # noqa: D102 as above
        data = request.payload
        if not data or data[-1]:
            raise ServiceError(errno.EPROTO)
        try:
            return self._decoder.decode(data[: data.index(0)])
        except msgspec.ValidationError as error:
            raise ServiceError(errno.EPROTO, f"{request.topic}: {error}") from None
        except _MALFORMED:
            raise ServiceError(errno.EPROTO) from None


class OptionalJson(JsonPayload[_T]):
    """As JsonPayload, of a type that has a default for each key; no payload is as good as ``{}``."""

    def decode(self, request: Packet) -> _T:  # noqa: D102 as above
        return self._decoder.decode(b"{}") if request.payload is None else super().decode(request)


class UnreadJson(JsonPayload[dict[str, msgspec.Raw]]):
    """A JSON object whose values are looked through and not read, to go out again as they came."""

    def __init__(self) -> None:
        super().__init__(dict[str, msgspec.Raw])

    def decode(self, request: Packet) -> dict[str, msgspec.Raw]:  # noqa: D102 as above
        found = super().decode(request)
        try:
            for value in found.values():
                str(value, "utf-8")
        except UnicodeDecodeError:
            raise ServiceError(errno.EPROTO) from None
        return found


class MsgpackPayload(Payload[_T]):
    """A raw msgpack value of the given type."""

    def __init__(self, type_: type[_T]) -> None:
        self._decoder = msgspec.msgpack.Decoder(type_)

    def decode(self, request: Packet) -> _T:  # noqa: D102 as above
        try:
            return self._decoder.decode(request.payload or b"")
        except _MALFORMED as error:
            raise ServiceError(errno.EPROTO, f"{request.topic}: {error}") from None


class _NoPayload(Payload[None]):
    def decode(self, request: Packet) -> None:
        return None


no_payload = _NoPayload()
"""For methods that want none and do not look."""


class _RawPayload(Payload[bytes]):
    def decode(self, request: Packet) -> bytes:
        if request.payload is None:
            raise ServiceError(errno.EPROTO)
        return bytes(request.payload)


raw_payload = _RawPayload()
"""The bytes as they came, for methods that want some."""

_json = msgspec.json.Encoder()


def as_utf8(text: str) -> str:
    """A text made from any bytes, fit for JSON: what is no UTF-8 is replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def encode_json(value: object) -> bytes:
    """A JSON payload: compact, bytes as base64, with the closing NUL."""
    return _json.encode(value) + b"\0"
