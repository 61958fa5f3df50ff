# SPDX-License-Identifier: Apache-2.0
"""The `state-machine` service: how far the broker has come. Ours answers no one before it runs."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from hearth.broker.credentials import USERS, ServiceError
from hearth.broker.payloads import OptionalJson, encode_json, no_payload
from hearth.broker.service import LATER, Service
from hearth.broker.streams import is_streaming

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["State", "StateMachineService"]


class State(IntEnum):
    """The states that somebody can see, by their numbers among the twelve of flux-core."""

    RUN = 5
    CLEANUP = 6
    """No more tasks are begun; those that run are waited for."""
    SHUTDOWN = 7
    """Services are told that their sessions are over."""
    FINALIZE = 8
    """What is left is ended, then the connections."""


_LAST = 11  # exit: nobody is connected any more


class _Monitor(msgspec.Struct):
    final: int = _LAST


class StateMachineService(Service):
    """state-machine.get, state-machine.wait, state-machine.monitor. clock gives seconds that only grow, from 0."""

    def __init__(self, router: Router, clock: Callable[[], float]) -> None:
        super().__init__(router, "state-machine")
        self._clock = clock
        self._since = 0.0
        self.state = State.RUN
        self._monitors = self.new_streams()
        self.add_method("get", no_payload, self._get, USERS)
        self.add_method("wait", no_payload, self._wait, USERS)
        self.add_method("monitor", OptionalJson(_Monitor), self._monitor)

    def enter(self, state: State) -> None:
        """Go on to a later state, and tell who monitors. Entering the same again is nothing."""
        if state == self.state:
            return
        self.state, self._since = state, self._clock()
        for request, final in self._monitors.items():
            self._tell(request, int(final))

    def _get(self, request: Packet, nothing: None) -> dict[str, str | float]:
        """The state, and for how long it has lasted."""
        return {"state": self.state.name.lower(), "duration": self._clock() - self._since}

    def _wait(self, request: Packet, nothing: None) -> None:
        """Answered when the broker runs: at once, or never any more."""
        if self.state > State.RUN:
            raise ServiceError(errno.ENOENT, "broker has surpassed RUN state")

    def _monitor(self, request: Packet, until: _Monitor) -> object:
        """The state; to who streams each one to come, and ENODATA behind the final one or a later."""
        if not is_streaming(request):
            return {"state": self.state}
        self._monitors.open(request, str(until.final))
        self._tell(request, until.final)
        return LATER

    def _tell(self, request: Packet, final: int) -> None:
        self.router.respond(request, encode_json({"state": self.state}))
        if self.state >= final:
            self._monitors.take(request, request.aux2)
            self.router.respond_error(request, errno.ENODATA)
