# SPDX-License-Identifier: Apache-2.0
"""The `state-machine` service: how far the broker has come. Ours answers no one before it runs, so it runs."""

from __future__ import annotations

import errno
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

__all__ = ["StateMachineService"]

_RUN = 5  # of load-builtins 0 to exit 11
_LAST = 11


class _Monitor(msgspec.Struct):
    final: int = _LAST


class StateMachineService(Service):
    """state-machine.get, state-machine.wait, state-machine.monitor. uptime_s is asked how long the broker runs."""

    def __init__(self, router: Router, uptime_s: Callable[[], float]) -> None:
        super().__init__(router, "state-machine")
        self._uptime_s = uptime_s
        self.add_method("get", no_payload, self._get, USERS)
        self.add_method("wait", no_payload, self._wait, USERS)
        self.add_method("monitor", OptionalJson(_Monitor), self._monitor)

    def _get(self, request: Packet, nothing: None) -> dict[str, str | float]:
        return {"state": "run", "duration": self._uptime_s()}

    def _wait(self, request: Packet, nothing: None) -> None:
        """Answered when the broker runs: at once."""

    def _monitor(self, request: Packet, until: _Monitor) -> object:
        """The state, which never changes while there is somebody to tell.

        So a stream that waits for a later state is not remembered; one for this state or before ends with ENODATA.
        """
        if not is_streaming(request):
            return {"state": _RUN}
        self.router.respond(request, encode_json({"state": _RUN}))
        if until.final <= _RUN:
            raise ServiceError(errno.ENODATA)
        return LATER
