# SPDX-License-Identifier: Apache-2.0
"""Topic globs: fnmatch(3) without flags, where ``*`` crosses dots and slashes."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_glob", "topic_matcher"]

_WILDCARDS = frozenset("*?[")


def is_glob(pattern: str) -> bool:
    """Whether a pattern can match more than the topic it spells. The empty one matches all."""
    return not pattern or not _WILDCARDS.isdisjoint(pattern)


@functools.lru_cache(maxsize=256)
def topic_matcher(pattern: str) -> Callable[[str | None], bool]:
    """A test for topics. ``""`` and ``*`` match all, and only they match a message without topic."""
    if pattern in ("", "*"):
        return lambda topic: True
    if not is_glob(pattern):
        return lambda topic: topic == pattern
    matches = re.compile(_regex(pattern), re.DOTALL).fullmatch
    return lambda topic: topic is not None and matches(topic) is not None


def _regex(pattern: str) -> str:
    parts = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif char == "[" and (bracket := _bracket(pattern, at)):
            regex, at = bracket
            parts.append(regex)
        elif char == "\\" and at < len(pattern):
            parts.append(re.escape(pattern[at]))
            at += 1
        else:
            parts.append(re.escape(char))
    return "".join(parts)


def _bracket(pattern: str, at: int) -> tuple[str, int] | None:
    """The regular expression of a bracket and where it ends; None when it is not closed, so a plain ``[``."""
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    ranges: list[str] = []
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        low, at = _bracket_char(pattern, at)
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _bracket_char(pattern, at + 1)
        if low <= high:  # a range the wrong way round holds nothing
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    if at >= len(pattern):
        return None
    if not ranges:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _bracket_char(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\" and at + 1 < len(pattern):
        at += 1
    return pattern[at], at + 1
