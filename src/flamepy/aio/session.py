# SPDX-License-Identifier: Apache-2.0
"""Sessions on asyncio: `flamepy.Session` with coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flamepy.aio.mapping import map_inputs
from flamepy.aio.watching import watch_task
from flamepy.core.convert import logs_of, submitted_task, task_of
from flamepy.core.requests import check_input, options_of, task_ref, watch_timeout_of
from flamepy.core.snapshot import SessionSnapshot
from flamepy.core.types import FlameError, FlameErrorCode
from flamepy.protocol import CancelledTasks, CancelTasks, ListLogs, ListTasks, LogList, SessionInfo, TaskInfo, TaskList

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

    ``async with`` closes it at the end of the block: when all its tasks have ended (as ``close(drain=True)``), or
    at once if the block is left with an exception (as ``close(force=True)``).
    """

    def __init__(self, connection: Connection, info: SessionInfo, stream: ResultStream) -> None:
        super().__init__(info)
        self.connection = connection
        self._stream = stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            await self.close(drain=kind is None, force=kind is not None)
        except FlameError as refusal:
            if error is not None:
                return  # it says more than that the connection is gone, too
            if refusal.code is not FlameErrorCode.NOT_FOUND:  # closed within the block, and forgotten since
                raise

    def run(
        self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None
    ) -> asyncio.Future[bytes | None]:
        """Run one task; returns at once. It leaves, with all of this turn, when the loop gets its turn.

        The future gives the service's output and raises FlameError as that of `flamepy.Session.run` does; to cancel
        it cancels the task, also while it runs. The options are those of `flamepy.Session.run`. Raises FlameError
        INVALID_ARGUMENT unless input_data is bytes and the options are within bounds, INVALID_STATE if the session
        is known to be closed.
        """
        return self._stream.submit(check_input(input_data), options=options_of(timeout, max_retries))

    async def invoke(
        self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None
    ) -> bytes | None:
        """Run one task and wait for its output. Raises as `run` and its future do."""
        options = options_of(timeout, max_retries)
        return await self._stream.submit(check_input(input_data), is_urgent=True, options=options)

    map = map_inputs

    async def create_task(
        self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None
    ) -> Task:
        """Create a task; returns when the instance holds it, PENDING. Follow it with watch_task or get_task."""
        answer = await self._stream.create(check_input(input_data), options_of(timeout, max_retries))
        return submitted_task(self.id, input_data, answer)

    async def cancel_task(self, task_id: str) -> bool:
        """Cancel a task that waits or runs, see `flamepy.Session.cancel_task`; returns False if it had ended before."""
        task = task_ref(self.id, task_id).task
        request = CancelTasks(self.id, [task])
        return task in (await self.connection.link.ask("flame.task.cancel", request, CancelledTasks)).cancelled

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

    async def close(self, drain: bool = False, force: bool = False) -> None:
        """Close the session: what waits is cancelled. Any number of times; see `flamepy.Connection.close_session`.

        Raises FlameError INVALID_STATE while a task is running, unless it is told what to do about that.
        """
        await self.connection.close_session(self.id, drain=drain, force=force)
