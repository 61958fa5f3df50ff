# SPDX-License-Identifier: Apache-2.0
"""The `heartbeat` service: an event every two seconds, as long as somebody listens; otherwise the daemon sleeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_ROLE_ALL, FLUX_ROLE_LOCAL, FLUX_ROLE_OWNER
from flux.packet import Packet
from hearth.broker.payloads import no_payload
from hearth.broker.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from hearth.broker.router import Router

__all__ = ["HeartbeatService"]

_PULSE = "heartbeat.pulse"
_PERIOD_S = 2.0  # as flux-core
_TIMEOUT_S = 300.0
_WARN_THRESH = 3


class HeartbeatService(Service):
    """The event heartbeat.pulse, and heartbeat.stats-get.

    call_later is asked for each next beat; settle is called behind each, to have it sent.
    """

    def __init__(
        self,
        router: Router,
        call_later: Callable[[float, Callable[[], None]], object],
        settle: Callable[[], None],
    ) -> None:
        super().__init__(router, "heartbeat")
        self._call_later = call_later
        self._settle = settle
        self._is_due = False
        self._count = 0
        self.add_method("stats-get", no_payload, self._stats, FLUX_ROLE_ALL)
        router.on_subscribe(self._on_subscribe)

    def _on_subscribe(self, prefix: str) -> None:
        if _PULSE.startswith(prefix) and not self._is_due:
            self._is_due = True
            self._call_later(_PERIOD_S, self._beat)

    def _beat(self) -> None:
        """Beat and go on, or stop when nobody listens any more."""
        self._is_due = bool(self.router.subscriptions.matching(_PULSE))
        if not self._is_due:
            return
        self._count += 1
        self._call_later(_PERIOD_S, self._beat)
        role = FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL
        pulse = Packet(FLUX_MSGTYPE_EVENT, 0, self.router.owner, role, routes=[self.router.uuid], topic=_PULSE)
        self.router.publish(pulse)
        self._settle()

    def _stats(self, request: Packet, nothing: None) -> dict[str, float]:
        return {"period": _PERIOD_S, "timeout": _TIMEOUT_S, "count": self._count, "warn_thresh": _WARN_THRESH}
