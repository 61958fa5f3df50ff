# SPDX-License-Identifier: Apache-2.0
"""What the broker's own services want in a request, the same for every kind of handle."""

from __future__ import annotations

import base64
import os
import re
import sys
from datetime import datetime, timezone
from typing import Any

from flux.util import payload_frame, topic_text

__all__ = ["PUBLISHER", "log_header", "log_lines", "publish_request"]

PUBLISHER = 0
"""The rank that numbers all events."""
_APPNAME_MAX = 48
_SEVERITIES = range(8)


def publish_request(topic: str | bytes, flags: int, payload: Any) -> dict[str, Any]:
    """For ``event.publish``; payload: see `flux.util.encode_payload`."""
    request: dict[str, Any] = {"topic": topic_text(topic), "flags": flags}
    frame = payload_frame(payload)
    if frame is not None:
        request["payload"] = base64.b64encode(frame).decode()
    return request


def log_lines(level: int, text: str | bytes) -> list[bytes]:
    """The lines of a text to log, each of them a record; the text is taken as it is.

    Raises TypeError for a wrong kind of argument, ValueError for a level that is not from LOG_EMERG 0 to
    LOG_DEBUG 7.
    """
    if not isinstance(level, int) or not isinstance(text, (str, bytes)):
        raise TypeError(f"log: want int and str or bytes, not {type(level)} and {type(text)}")
    if level not in _SEVERITIES:
        raise ValueError(f"log: level {level} is not a severity from 0 to 7")
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return re.split(rb"[\r\n]+", data.strip(b"\r\n"))


def log_header(level: int, rank: int) -> bytes:
    """What precedes a line in ``log.append``, the fields of RFC 5424.

    Priority, which Flux writes as severity times 8, time, rank, program and process.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    program = re.sub(r"[^!-~]", "_", os.path.basename(sys.argv[0]))[:_APPNAME_MAX] or "python3"
    return f"<{level * 8}>1 {stamp} {rank} {program} {os.getpid()} - - ".encode()
