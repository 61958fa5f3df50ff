# SPDX-License-Identifier: Apache-2.0
"""What an answer says: its JSON, or the error in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from flux.util import payload_text

if TYPE_CHECKING:
    from flux.packet import Packet

__all__ = ["error_of", "json_of"]


def error_of(response: Packet) -> OSError | None:
    """The error of an error response, a fresh one each time; its text is the service's, else errnum's own."""
    if not response.aux1:
        return None
    text = payload_text(response.payload) if response.payload and response.payload.endswith(b"\0") else None
    return OSError(response.aux1, text or os.strerror(response.aux1))


def json_of(packet: Packet) -> Any:
    """The JSON of a payload, None without one. Raises OSError (EPROTO) for a raw payload, JSONDecodeError."""
    text = payload_text(packet.payload)
    return None if text is None else json.loads(text)
