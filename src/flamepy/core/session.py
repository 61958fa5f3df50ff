# SPDX-License-Identifier: Apache-2.0
"""Sessions as a program holds them, and the iterators over their tasks."""

from __future__ import annotations

import errno
import queue
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.convert import logs_of, submitted_task, task_of
from flamepy.core.errors import error_of, lost_error, watch_timeout
from flamepy.core.mapping import map_inputs
from flamepy.core.requests import check_input, options_of, task_ref, watch_timeout_of
from flamepy.core.snapshot import SessionSnapshot
from flamepy.core.types import FlameError, FlameErrorCode, Task, TaskState
from flamepy.protocol import (
    CancelledTasks,
    CancelTasks,
    ListLogs,
    ListTasks,
    LogList,
    SessionInfo,
    TaskInfo,
    TaskList,
    TaskRef,
    Unwatch,
)

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from flamepy.core.client import Connection
    from flamepy.core.link import Link
    from flamepy.core.results import ResultStream
    from flamepy.core.types import InstanceLog
    from flamepy.protocol import InstanceLogInfo
    from flux.packet import Packet

__all__ = ["Session", "TaskIterator", "TaskWatcher"]

_PAGE = 500


class Session(SessionSnapshot):
    """A session of one application: a place to run tasks. Thread-safe. Attributes: those of SessionSnapshot.

    As a context manager it is closed at the end of the block: when all its tasks have ended (as
    `close(drain=True)`), or at once if the block is left with an exception (as `close(force=True)`).
    """

    def __init__(self, connection: Connection, info: SessionInfo, stream: ResultStream) -> None:
        super().__init__(info)
        self.connection = connection
        self._stream = stream

    def run(
        self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None
    ) -> Future[bytes | None]:
        """Run one task; returns at once.

        The future gives the service's output. It raises FlameError INTERNAL with the service's text if
        the task failed, timed out, or was given up because its executors died; INVALID_STATE if it was
        cancelled by somebody else, or with its session. Future.cancel() cancels the task, too, also while
        it runs.

        timeout: seconds that the task may run; max_retries: how often it is done again after its executor
        died with it; None for what the session says. Blocks only while 64 MiB wait to be sent. Raises
        FlameError INVALID_ARGUMENT unless input_data is bytes and the options are within bounds,
        INVALID_STATE if the session is known to be closed.
        """
        if timeout is None and max_retries is None:
            return self._stream.submit(check_input(input_data))
        return self._stream.submit(check_input(input_data), options=options_of(timeout, max_retries))

    def invoke(
        self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None
    ) -> bytes | None:
        """Run one task and wait for its output.

        Raises as `run` and its future do, and INVALID_STATE in a future's callback, which must not wait.
        """
        self._link.check_may_wait("invoke")
        return self._stream.invoke(check_input(input_data), options_of(timeout, max_retries))

    map = map_inputs

    def create_task(self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None) -> Task:
        """Create a task; returns when the instance holds it, PENDING. Follow it with watch_task or get_task.

        The options are those of `run`. Raises FlameError as `run` does, NOT_FOUND if the session is gone.
        """
        answer = self._stream.create(check_input(input_data), options_of(timeout, max_retries))
        return submitted_task(self.id, input_data, answer)

    def cancel_task(self, task_id: str) -> bool:
        """Cancel a task that waits or runs; returns False if it had ended before.

        It is CANCELLED at once for everyone who looks or waits. One that waits never runs; a service that does
        not come back from one that runs is killed soon. Raises FlameError NOT_FOUND, INVALID_ARGUMENT for no number.
        """
        task = task_ref(self.id, task_id).task
        return task in self._link.ask("flame.task.cancel", CancelTasks(self.id, [task]), CancelledTasks).cancelled

    def get_task(self, task_id: str) -> Task:
        """One task with input, output and events. Raises FlameError NOT_FOUND, INVALID_ARGUMENT for no number."""
        return task_of(self._link.ask("flame.task.get", task_ref(self.id, task_id), TaskInfo))

    def list_tasks(self) -> TaskIterator:
        """All tasks in the order of their ids, fetched page by page."""
        return TaskIterator(self._link, self.id)

    def watch_task(self, task_id: str, timeout: float | None = None) -> TaskWatcher:
        """The task's states from now on, ending with its final one. timeout is in seconds, for all of it.

        `TaskWatcher.close`, or a with block, ends it before. Raises FlameError INVALID_ARGUMENT for an id or a timeout
        that is no number.
        """
        return TaskWatcher(self._link, task_ref(self.id, task_id), watch_timeout_of(timeout))

    def logs(self, executor: str | None = None, *, task_id: str | None = None) -> list[InstanceLog]:
        """What the session's instances have printed, in the order of their start, also of those that have ended.

        Of all that are kept, of one executor, or of the one that has or had a task (`Task.executor`); none if no
        instance has had it yet. Raises FlameError NOT_FOUND for an executor or a task that is not known, or whose
        output is no longer kept.
        """
        task = None if task_id is None else task_ref(self.id, task_id).task
        infos: list[InstanceLogInfo] = []
        is_complete = False
        while not is_complete:
            after = infos[-1].number if infos else 0
            page = self._link.ask("flame.session.logs", ListLogs(self.id, executor, task, after), LogList)
            infos += page.logs
            is_complete = page.complete
        return logs_of(infos)

    def close(self, drain: bool = False, force: bool = False) -> None:
        """Close the session: what waits is cancelled. Any number of times; see `Connection.close_session`.

        Raises FlameError INVALID_STATE while a task is running, unless it is told what to do about that.
        """
        self.connection.close_session(self.id, drain=drain, force=force)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close(drain=kind is None, force=kind is not None)
        except FlameError as refusal:
            if refusal.code is not FlameErrorCode.NOT_FOUND:  # closed within the block, and forgotten since
                raise

    @property
    def _link(self) -> Link:
        return self.connection.link


class TaskIterator(Iterator[Task]):
    """A session's tasks in the order of their ids. Fetches as it goes, so tasks created meanwhile are seen.

    `next` raises FlameError NOT_FOUND if the session is gone.
    """

    def __init__(self, link: Link, session_id: str) -> None:
        self._link = link
        self._session_id = session_id
        self._page: list[TaskInfo] = []
        self._after = 0
        self._is_complete = False

    def __next__(self) -> Task:
        if not self._page:
            if self._is_complete:
                raise StopIteration
            answer = self._link.ask("flame.task.list", ListTasks(self._session_id, self._after, _PAGE), TaskList)
            self._is_complete = answer.complete
            self._page = answer.tasks[::-1]
            if not self._page:
                raise StopIteration
        info = self._page.pop()
        self._after = info.task
        return task_of(info)


class TaskWatcher(Iterator[Task]):
    """One task's states as they change. Ends after SUCCEED, FAILED or CANCELLED.

    The first state is the one at the time of asking. `next` raises TimeoutError when the time given
    is over, also while it waits, and FlameError NOT_FOUND if there is no such task. A context manager:
    who has seen enough before the end says so with `close`, and the instance tells no more.
    """

    def __init__(self, link: Link, task: TaskRef, timeout: float | None) -> None:
        self._link = link
        self._task = task
        self._answers: queue.SimpleQueue[Packet | OSError | None] = queue.SimpleQueue()
        """None: closed."""
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._last: TaskState | None = None
        self._is_again = False
        self._is_over = False
        self._tag = link.open_stream("flame.task.watch", task, self)

    def resume(self) -> None:
        """The connection is a new one: watch on."""
        self._is_again = True
        self._tag = self._link.request_stream("flame.task.watch", self._task, self)

    def on_response(self, response: Packet) -> None:
        """On the I/O thread: a state, or the end."""
        self._answers.put(response)

    def on_lost(self, error: OSError) -> None:
        """On the I/O thread: the connection is gone."""
        self._answers.put(error)

    def close(self) -> None:
        """Be told no more: `next` raises StopIteration from now on, also where another thread waits in it.

        Any number of times. Never waits.
        """
        if not self._is_over:
            self._is_over = True
            self._answers.put(None)
            self._link.end_stream(self._tag, "flame.task.unwatch", Unwatch(self._tag))

    def __enter__(self) -> TaskWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Task:
        task = self._next_state()
        while self._is_again and task.state == self._last:
            task = self._next_state()  # told once more by the new connection
        self._last = task.state
        return task

    def _next_state(self) -> Task:
        if self._is_over:
            raise StopIteration
        self._link.check_may_wait("watch_task")
        answer = self._next_answer()
        if answer is None:
            raise StopIteration
        if isinstance(answer, OSError):
            self._is_over = True
            raise lost_error(self._link.uri, answer)
        if answer.aux1:
            self._is_over = True
            if answer.aux1 == errno.ENODATA:
                raise StopIteration
            raise error_of(answer)
        return task_of(msgspec.json.decode((answer.payload or b"").rstrip(b"\0"), type=TaskInfo))

    def _next_answer(self) -> Packet | OSError | None:
        remaining = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            return self._answers.get(timeout=remaining)
        except queue.Empty:
            self.close()
            raise watch_timeout(self._task, self._timeout) from None
