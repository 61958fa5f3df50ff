# SPDX-License-Identifier: Apache-2.0
"""The forms in which a payload is handed over."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flux.results import json_of
from flux.util import payload_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet

__all__ = ["Form", "checked_json_of", "reader_of"]

Form: TypeAlias = Literal["json", "text", "raw"]
"""Its JSON; its text up to the first NUL; the bytes as they are. Each is None without payload."""


def checked_json_of(packet: Packet) -> Any:
    """The JSON of a payload, None without one. Raises OSError (EPROTO) when it is none."""
    try:
        return json_of(packet)
    except ValueError as error:
        raise OSError(errno.EPROTO, f"{packet.topic}: the payload is no JSON: {error}") from error


def _text_of(packet: Packet) -> str | None:
    return payload_text(packet.payload)


def _raw_of(packet: Packet) -> bytes | None:
    return packet.payload


_READERS: dict[str, Callable[[Packet], Any]] = {"json": checked_json_of, "text": _text_of, "raw": _raw_of}


def reader_of(form: Form) -> Callable[[Packet], Any]:
    """What makes this form of a packet's payload; it raises OSError (EPROTO). ValueError for an unknown form."""
    try:
        return _READERS[form]
    except KeyError:
        raise ValueError(f"answer: got {form!r}, want one of {', '.join(_READERS)}") from None
