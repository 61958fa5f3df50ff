# SPDX-License-Identifier: Apache-2.0
"""From what a user passes to what a message holds: topics and payloads."""

from __future__ import annotations

import errno
import json
from typing import Any

from flux.errors import InvalidArguments, named_error

__all__ = ["encode_payload", "encode_topic", "get_treedict", "payload_frame", "payload_text", "topic_text"]

_json = json.JSONEncoder(ensure_ascii=False)


def encode_payload(payload: Any) -> bytes | None:
    """The bytes of a payload, without the NUL that a message appends.

    None means no payload, str becomes UTF-8, bytes stay, all else becomes JSON. Raises TypeError for
    what JSON cannot say.
    """
    if payload is None or isinstance(payload, bytes):
        return payload
    text = payload if isinstance(payload, str) else _json.encode(payload)
    return text.encode("utf-8", "surrogateescape")


def payload_frame(payload: Any) -> bytes | None:
    """`encode_payload` with its NUL: what goes on the wire."""
    if isinstance(payload, str):
        return (payload + "\0").encode("utf-8", "surrogateescape")
    data = encode_payload(payload)
    return None if data is None else data + b"\0"


def payload_text(payload: bytes | None) -> str | None:
    """The text of a payload frame, up to its first NUL; None without a payload.

    Raises OSError (EPROTO) when the last byte is no NUL, as in a raw payload.
    """
    if payload is None:
        return None
    if not payload.endswith(b"\0"):
        raise named_error(errno.EPROTO)
    return payload[: payload.index(b"\0")].decode("utf-8", "surrogateescape")


def encode_topic(topic: str | bytes | None) -> bytes:
    """The UTF-8 of a topic. Raises OSError (EINVAL) for None, TypeError for anything but str and bytes."""
    return topic_text(topic).encode("utf-8", "surrogateescape")


def topic_text(topic: str | bytes | None) -> str:
    """The text of a topic, refusing what `encode_topic` refuses."""
    if isinstance(topic, str):
        return topic
    if isinstance(topic, bytes):
        return topic.decode("utf-8", "surrogateescape")
    if topic is None:
        raise OSError(errno.EINVAL, "Topic must not be None/NULL")
    raise InvalidArguments(errno.EINVAL, f"Topic must be a string, not {type(topic)}")


def get_treedict(in_dict: Any, key: str, default: Any = None) -> Any:
    """What a dotted key names in nested dicts, `default` if nothing does.

    Raises AttributeError when the key goes on below something that is no dict.
    """
    *tables, last = key.split(".")
    for table in tables:
        in_dict = in_dict.get(table)
        if in_dict is None:
            return default
    return in_dict.get(last, default)
