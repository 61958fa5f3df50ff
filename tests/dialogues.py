"""The recorded dialogues (see vectors/README.md), for whoever plays one of their sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flux import packet as wire

if TYPE_CHECKING:
    from flux.packet import Packet

DIALOGUES: dict[str, dict[str, Any]] = {
    dialogue["name"]: dialogue
    for dialogue in json.loads((Path(__file__).parent / "vectors" / "sessions.json").read_text())
}


def packet_of(step: dict[str, Any]) -> Packet:
    """The message that a step carries."""
    return wire.decode(bytes.fromhex(step["hex"]))
