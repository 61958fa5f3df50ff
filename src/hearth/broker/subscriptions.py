# SPDX-License-Identifier: Apache-2.0
"""Who has asked for which events. Subscriptions are counted topic prefixes (spec: docs/protocol.md, "Events")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Subscriptions"]

_Subscriber = TypeVar("_Subscriber", bound=Hashable)
_CACHE_MAX = 4096  # topics whose subscribers are remembered; a flood of new topics only costs the cache
_CACHED_TOPIC_MAX = 255  # a topic may be as long as a message; such a one is not worth keeping


class Subscriptions(Generic[_Subscriber]):
    """A table of (prefix, subscriber) counts. Pure."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[_Subscriber, int]] = {}
        self._matches: dict[str, tuple[_Subscriber, ...]] = {}

    def add(self, prefix: str, subscriber: _Subscriber) -> None:
        """Subscribe once more; the empty prefix matches every topic."""
        counts = self._counts.setdefault(prefix, {})
        counts[subscriber] = counts.get(subscriber, 0) + 1
        self._matches.clear()

    def remove(self, prefix: str, subscriber: _Subscriber) -> bool:
        """Take one subscription back. False if there was none."""
        counts = self._counts.get(prefix, {})
        if subscriber not in counts:
            return False
        counts[subscriber] -= 1
        if not counts[subscriber]:
            self._drop(prefix, subscriber)
        return True

    def forget(self, subscriber: _Subscriber) -> None:
        """Drop everything a subscriber had."""
        for prefix in [prefix for prefix, counts in self._counts.items() if subscriber in counts]:
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
        """Every subscriber of the topic, each once, in the order of their first matching subscription."""
        found = self._matches.get(topic)
        if found is None:
            matches = (counts for prefix, counts in self._counts.items() if topic.startswith(prefix))
            found = tuple(dict.fromkeys(subscriber for counts in matches for subscriber in counts))
            if len(self._matches) >= _CACHE_MAX:
                self._matches.clear()
            if len(topic) <= _CACHED_TOPIC_MAX:
                self._matches[topic] = found
        return found
