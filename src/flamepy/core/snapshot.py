# SPDX-License-Identifier: Apache-2.0
"""What a session says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.core.convert import event_of, time_of
from flamepy.core.types import Event, SessionState

if TYPE_CHECKING:
    from flamepy.protocol import SessionInfo

__all__ = ["SessionSnapshot"]


class SessionSnapshot:
    """A session as it was in the answer that made this object; ask `get_session` for newer ones.

    Attributes: id, application, state, creation_time, pending, running, succeed, failed, cancelled,
    completion_time, events.
    """

    def __init__(self, info: SessionInfo) -> None:
        self.id = info.session
        self.application = info.spec.application
        self.state = info.state
        self.creation_time = time_of(info.creation_time_ms)
        self.pending = info.pending
        self.running = info.running
        self.succeed = info.succeed
        self.failed = info.failed
        self.cancelled = info.cancelled
        self.completion_time = None if info.completion_time_ms is None else time_of(info.completion_time_ms)
        self.events: list[Event] = [event_of(event) for event in info.events]
        self._common_data = info.spec.common_data

    def __repr__(self) -> str:
        return f"<Session {self.id!r} of {self.application!r}, {SessionState(self.state).name}>"

    def common_data(self) -> bytes | None:
        """The data that every instance gets on entering, as given when the session was made."""
        return self._common_data
