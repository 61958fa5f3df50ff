# SPDX-License-Identifier: Apache-2.0
"""Who has asked for which events. Subscriptions are counted topic prefixes (spec: docs/protocol.md, "Events")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["PREFIXES_MAX", "PREFIX_MAX", "Subscriptions"]

PREFIXES_MAX = 4096  # of one subscriber; programs that serve many sessions use hundreds
PREFIX_MAX = 1024  # characters; with the count it bounds what a subscriber makes us keep, and look up for each event

_Subscriber = TypeVar("_Subscriber", bound=Hashable)
_CACHE_MAX = 4096  # topics whose subscribers are remembered; a flood of new topics only costs the cache
_CACHED_TOPIC_MAX = 255  # a topic may be as long as a message; such a one is not worth keeping


class Subscriptions(Generic[_Subscriber]):
    """A table of (prefix, subscriber) counts. Pure."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[_Subscriber, int]] = {}
        self._prefixes: dict[_Subscriber, set[str]] = {}
        self._matches: dict[str, tuple[_Subscriber, ...]] = {}

    def has_room(self, prefix: str, subscriber: _Subscriber) -> bool:
        """Whether the subscriber may have this one too. To subscribe again to what it has needs no room."""
        prefixes = self._prefixes.get(subscriber, ())
        return prefix in prefixes or len(prefixes) < PREFIXES_MAX

    def add(self, prefix: str, subscriber: _Subscriber) -> None:
        """Subscribe once more; the empty prefix matches every topic."""
        counts = self._counts.setdefault(prefix, {})
        counts[subscriber] = counts.get(subscriber, 0) + 1
        self._prefixes.setdefault(subscriber, set()).add(prefix)
        self._matches.clear()

    def remove(self, prefix: str, subscriber: _Subscriber) -> bool:
        """Take one subscription back. False if there was none."""
        counts = self._counts.get(prefix, {})
        if subscriber not in counts:
            return False
        counts[subscriber] -= 1
        if not counts[subscriber]:
            self._drop(prefix, subscriber)
            self._prefixes[subscriber].discard(prefix)
        return True

    def forget(self, subscriber: _Subscriber) -> None:
        """Drop everything a subscriber had."""
        for prefix in self._prefixes.pop(subscriber, ()):
            self._drop(prefix, subscriber)

    def _drop(self, prefix: str, subscriber: _Subscriber) -> None:
        counts = self._counts[prefix]
        del counts[subscriber]
        if not counts:
            del self._counts[prefix]
        self._matches.clear()

    def prefixes_by_subscriber(self) -> dict[_Subscriber, int]:
        """How many prefixes each has that has any. Looks at the whole table: for people who ask, not for messages."""
        return Counter(subscriber for counts in self._counts.values() for subscriber in counts)

    def matching(self, topic: str) -> tuple[_Subscriber, ...]:
        """Every subscriber of the topic, each once."""
        found = self._matches.get(topic)
        if found is None:
            found = tuple(dict.fromkeys(subscriber for counts in self._matched(topic) for subscriber in counts))
            if len(self._matches) >= _CACHE_MAX:
                self._matches.clear()
            if len(topic) <= _CACHED_TOPIC_MAX:
                self._matches[topic] = found
        return found

    def _matched(self, topic: str) -> list[dict[_Subscriber, int]]:
        """Try the prefixes there are or those the topic has, whichever are fewer: nobody slows others down by many."""
        longest = min(len(topic), PREFIX_MAX)
        if longest < len(self._counts):
            ends = (topic[:end] for end in range(longest + 1))
            return [self._counts[prefix] for prefix in ends if prefix in self._counts]
        return [counts for prefix, counts in self._counts.items() if topic.startswith(prefix)]
