# SPDX-License-Identifier: Apache-2.0
"""Sessions on asyncio: `flamepy.Session` with coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.aio.mapping import map_inputs
from flamepy.aio.watching import watch_task
from flamepy.core.convert import logs_of, submitted_task, task_of
from flamepy.core.requests import check_input, task_ref, watch_timeout_of
from flamepy.core.snapshot import SessionSnapshot
from flamepy.core.types import FlameError
from flamepy.protocol import ListLogs, ListTasks, LogList, SessionInfo, TaskInfo, TaskList

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from typing_extensions import Self

    from flamepy.aio.connection import Connection
    from flamepy.aio.results import ResultStream
    from flamepy.core.types import InstanceLog, Task
    from flamepy.protocol import InstanceLogInfo

__all__ = ["Session"]

_PAGE = 500


class Session(SessionSnapshot):
    """A session of one application: a place to run tasks. Attributes: those of SessionSnapshot, and connection.

    ``async with`` closes it at the end of the block. Left by an error while a task runs, it stays open.
    """

    def __init__(self, connection: Connection, info: SessionInfo, stream: ResultStream) -> None:
        super().__init__(info)
        self.connection = connection
        self._stream = stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            await self.close()
        except FlameError:
            if error is None:  # else it says more than that a task still runs, or that the connection is gone
                raise

    def run(self, input_data: bytes) -> asyncio.Future[bytes | None]:
        """Run one task; returns at once. It leaves with all of this turn when the loop gets its turn.

        The future gives the service's output. It raises FlameError INTERNAL with the service's text if
        the task failed, INVALID_STATE if the session was closed first. Raises FlameError INVALID_ARGUMENT unless
        input_data is bytes, INVALID_STATE if the session is known to be closed.
        """
        return self._stream.submit(check_input(input_data))

    async def invoke(self, input_data: bytes) -> bytes | None:
        """Run one task and wait for its output. Raises as `run` and its future do."""
        return await self._stream.submit(check_input(input_data), is_urgent=True)

    map = map_inputs

    async def create_task(self, input_data: bytes) -> Task:
        """Create a task; returns when the instance holds it, PENDING. Follow it with watch_task or get_task."""
        return submitted_task(self.id, input_data, await self._stream.create(check_input(input_data)))

    async def get_task(self, task_id: str) -> Task:
        """One task with input, output and events. Raises FlameError NOT_FOUND, INVALID_ARGUMENT for no number."""
        return task_of(await self.connection.link.ask("flame.task.get", task_ref(self.id, task_id), TaskInfo))

    async def list_tasks(self) -> AsyncGenerator[Task, None]:
        """All tasks in the order of their ids. Fetches page by page, so tasks created meanwhile are seen."""
        page, after = TaskList([], complete=False), 0
        while not page.complete:
            page = await self.connection.link.ask("flame.task.list", ListTasks(self.id, after, _PAGE), TaskList)
            for info in page.tasks:
                after = info.task
                yield task_of(info)

    def watch_task(self, task_id: str, timeout: float | None = None) -> AsyncGenerator[Task, None]:
        """The task's states from the first step on, ending with its final one. timeout: in seconds, for all of it.

        Raises TimeoutError when the time is over, FlameError NOT_FOUND if there is no such task, INVALID_ARGUMENT
        for a timeout that is no number of seconds.
        """
        return watch_task(self.connection.link, task_ref(self.id, task_id), watch_timeout_of(timeout))

    async def logs(self, executor: str | None = None, *, task_id: str | None = None) -> list[InstanceLog]:
        """What the session's instances have printed, see `flamepy.Session.logs`."""
        task = None if task_id is None else task_ref(self.id, task_id).task
        infos: list[InstanceLogInfo] = []
        page = LogList([], complete=False)
        while not page.complete:
            after = infos[-1].number if infos else 0
            request = ListLogs(self.id, executor, task, after)
            page = await self.connection.link.ask("flame.session.logs", request, LogList)
            infos += page.logs
        return logs_of(infos)

    async def close(self) -> None:
        """Close the session: what waits is cancelled. Any number of times.

        Raises FlameError INVALID_STATE while a task is running.
        """
        await self.connection.close_session(self.id)
