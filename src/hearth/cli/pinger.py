# SPDX-License-Identifier: Apache-2.0
"""Sending pings to a service in time, and taking the answers as they come."""

from __future__ import annotations

import errno
import json
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import FLUX_REACTOR_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import click

    from flux.rpc import RPC
    from hearth.cli.bus import Bus
    from hearth.cli.round_trips import RoundTrips

__all__ = ["WAITING_MAX", "Answer", "Pinger", "Plan"]

WAITING_MAX = 65536
"""Requests without an answer at one time: a hundred megabytes. Those that would be more are sent later."""


@dataclass(frozen=True)
class Plan:
    """What to send. count: None for no end. interval_s: 0 after each answer, None all at once, which needs a count."""

    topic: str
    count: int | None
    interval_s: float | None
    pad_bytes: int
    timeout_s: float
    told: Mapping[int, str]
    """What to say for an errno, see `Bus.ask`."""


class Answer(NamedTuple):
    """What became of one request. time_s: None if there was no answer in time."""

    seq: int
    time_s: float | None
    route: str | None = None


class Pinger:
    """Carries out a plan once, counting in trips."""

    def __init__(self, bus: Bus, plan: Plan, trips: RoundTrips) -> None:
        self._bus, self._plan, self._trips = bus, plan, trips
        self._pad = {"pad": "x" * plan.pad_bytes} if plan.pad_bytes else {}
        self._waiting = 0
        self._arrived: deque[Answer] = deque()
        self._failure: click.ClickException | None = None
        self._timer = bus.handle.timer_watcher_create(0.0, self._on_time, repeat=plan.interval_s or 0.0)

    def answers(self) -> Iterator[Answer]:
        """Each as it comes. Raises ClickException when the service refuses or the connection is lost."""
        self._timer.start()
        while not (self._trips.sent == self._plan.count and not self._waiting):
            self._turn()
            while self._arrived:  # not from the callbacks: an error of who uses it is no error of the connection
                yield self._arrived.popleft()
            if self._failure is not None:
                raise self._failure
        self._timer.stop()

    def _turn(self) -> None:
        try:
            result = self._bus.handle.reactor_run(flags=FLUX_REACTOR_ONCE)
        except OSError as error:
            raise self._bus.explain(self._plan.topic, error) from error
        if result < 0:
            raise self._bus.explain(self._plan.topic, OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def _on_time(self, *_: object) -> None:
        if self._plan.interval_s is not None:
            self._send()
            return
        while self._trips.sent != self._plan.count:
            self._send()

    def _send(self) -> None:
        if self._trips.sent == self._plan.count or self._waiting >= WAITING_MAX:
            return
        seq = self._trips.sent
        self._trips.sent += 1
        self._waiting += 1
        started = time.perf_counter()
        rpc = self._bus.handle.rpc(self._plan.topic, {"seq": seq, **self._pad})
        rpc.then(self._on_answer, seq, started, timeout=self._plan.timeout_s)

    def _on_answer(self, rpc: RPC, seq: int, started: float) -> None:
        time_s = time.perf_counter() - started
        self._waiting -= 1
        try:
            text = rpc.get_str()
        except OSError as error:
            if error.errno != errno.ETIMEDOUT:
                self._failure = self._bus.explain(self._plan.topic, error, self._plan.told)
                return
            self._arrived.append(Answer(seq, None))
        else:
            self._trips.add(time_s)
            self._arrived.append(Answer(seq, time_s, _route_of(text)))
        if self._plan.interval_s == 0:
            self._send()


def _route_of(text: str | None) -> str | None:
    """The route in an answer; None in that of a client's service that does not tell."""
    try:
        answer: Any = json.loads(text or "null")
    except ValueError:
        return None
    route = answer.get("route") if isinstance(answer, dict) else None
    return route if isinstance(route, str) else None
