"""The recorded wire vectors (see ../vectors/README.md), as packets and parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flux.packet import Packet

_FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((_FOLDER / name).read_text())
    return entries


def payload_of(entry: dict[str, Any]) -> bytes | None:
    return None if entry["payload_hex"] is None else bytes.fromhex(entry["payload_hex"])


def packet_of(entry: dict[str, Any]) -> Packet:
    """The packet that an entry of messages.json, or a step of sessions.json, describes."""
    return Packet(
        entry["type"],
        entry["flags"],
        entry["userid"],
        entry["rolemask"],
        entry["aux1"],
        entry["matchtag"],
        entry["routes"],
        entry["topic"],
        payload_of(entry),
    )


MESSAGES = load("messages.json")
DECODES = load("decode.json")
STREAM = b"".join(bytes.fromhex(entry["hex"]) for entry in MESSAGES)
PACKETS = [packet_of(entry) for entry in MESSAGES]
