# SPDX-License-Identifier: Apache-2.0
"""What an answer says: its JSON, or the error in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import msgspec

from flux.util import payload_text

if TYPE_CHECKING:
    from flux.packet import Packet

__all__ = ["error_of", "json_of"]

_decode = msgspec.json.Decoder().decode  # five times as fast


def error_of(response: Packet) -> OSError | None:
    """The error of an error response, a fresh one each time; its text is the service's, else errnum's own."""
    if not response.aux1:
        return None
    text = payload_text(response.payload) if response.payload and response.payload.endswith(b"\0") else None
    return OSError(response.aux1, text or os.strerror(response.aux1))


def json_of(packet: Packet) -> Any:
    """The JSON of a payload, None without one. Raises OSError (EPROTO) for a raw payload, JSONDecodeError."""
    payload = packet.payload
    if payload is None:
        return None
    if payload.find(b"\0") == len(payload) - 1:
        try:
            return _decode(payload[:-1])
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # Python's own reader takes more, NaN for one, and words the error
    return json.loads(payload_text(payload) or "")
