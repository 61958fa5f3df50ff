# SPDX-License-Identifier: Apache-2.0
"""Text from anywhere, made fit to be shown to people."""

from __future__ import annotations

__all__ = ["on_one_line"]


def on_one_line(text: str) -> str:
    """Line ends and control characters are escaped: the text can fake no other line, nor move the cursor."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
