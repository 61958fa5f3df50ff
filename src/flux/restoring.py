# SPDX-License-Identifier: Apache-2.0
"""What a broker has to be told again after a reconnect: it knows a new connection by nothing."""

from __future__ import annotations

from collections import Counter

from flux.util import payload_frame

__all__ = ["Restoring"]


class Restoring:
    """The subscriptions and services of one handle. Holds only what was done and not undone."""

    def __init__(self) -> None:
        self._topics: Counter[str] = Counter()  # the broker counts subscriptions, so each is made again
        self._names: dict[str, None] = {}

    def subscribed(self, topic: str) -> None:
        """The broker took one more subscription to a topic."""
        self._topics[topic] += 1

    def unsubscribed(self, topic: str) -> None:
        """One subscription less; nothing when there is none."""
        if self._topics[topic] > 1:
            self._topics[topic] -= 1
        else:
            del self._topics[topic]

    def registered(self, name: str) -> None:
        """The broker sends requests for a service here."""
        self._names[name] = None

    def unregistered(self, name: str) -> None:
        """No longer; nothing when it never did."""
        self._names.pop(name, None)

    def requests(self) -> list[tuple[str, bytes]]:
        """Topic and payload frame of the requests to make, services first, in the order they were made."""
        wanted = [("service.add", {"service": name}) for name in self._names]
        wanted += [("event.subscribe", {"topic": topic}) for topic in self._topics.elements()]
        return [(topic, payload_frame(body) or b"") for topic, body in wanted]
