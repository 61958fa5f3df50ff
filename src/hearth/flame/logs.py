# SPDX-License-Identifier: Apache-2.0
"""flame.session.logs: what the instances of a session have printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy import protocol
from flamepy.core.types import FlameError, FlameErrorCode
from hearth.broker.payloads import JsonPayload
from hearth.engine.views import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flux.packet import Packet
    from hearth.flame.service import FlameService
    from hearth.providers.logs import ExecutorLog, ExecutorLogs

__all__ = ["Logs"]

_PAGE_BYTES = 4 << 20


class Logs:
    """Tells what is kept, to who asks for a session, one executor of it, or the one that had a task."""

    def __init__(self, service: FlameService, logs: ExecutorLogs) -> None:
        self._engine = service.engine
        self._logs = logs
        service.serve("session.logs", JsonPayload(protocol.ListLogs), self._list)

    def _list(self, request: Packet, asked: protocol.ListLogs) -> protocol.LogList:
        """A page in the order of their start; it ends when it has grown heavy."""
        infos: list[protocol.InstanceLogInfo] = []
        size = 0
        for log in self._wanted(asked):
            if log.number > asked.after:
                if size > _PAGE_BYTES:
                    return protocol.LogList(infos, False)
                size += log.size_bytes
                infos += _infos(log)
        return protocol.LogList(infos, True)

    def _wanted(self, asked: protocol.ListLogs) -> list[ExecutorLog]:
        session = self._engine.state.session(asked.session)
        executor = asked.executor
        if asked.task is not None:
            _, task = self._engine.tasks.get(asked.session, asked.task)
            if task.executor is None:
                return []
            executor = task.executor
        # An id may come back after its application was unregistered; what is older is the former session's.
        logs = [log for log in self._logs.of(session.id) if log.started >= session.created]
        if executor is None:
            return logs
        one = [log for log in logs if log.executor_id == executor]
        if not one:
            raise FlameError(
                FlameErrorCode.NOT_FOUND,
                f"executor {executor!r} of session {session.id!r} is not known, or its output is no longer kept",
            )
        return one


def _infos(log: ExecutorLog) -> Iterator[protocol.InstanceLogInfo]:
    for name, stream in (("stdout", log.stdout), ("stderr", log.stderr)):
        yield protocol.InstanceLogInfo(
            number=log.number,
            executor=log.executor_id,
            stream=name,
            data=stream.kept,
            is_running=log.ended is None,
            truncated=stream.is_truncated,
            started_ms=milliseconds(log.started),
            ended_ms=None if log.ended is None else milliseconds(log.ended),
        )
