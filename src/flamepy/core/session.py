# SPDX-License-Identifier: Apache-2.0
"""Sessions as a program holds them, and the iterators over their tasks."""

from __future__ import annotations

import errno
import math
import queue
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from flamepy.core.convert import event_of, task_of, time_of
from flamepy.core.errors import error_of, lost_error
from flamepy.core.types import Event, FlameError, FlameErrorCode, SessionState, Task, TaskState
from flamepy.protocol import (
    MAX_DATA_BYTES,
    TASK_CREATED_TEXT,
    CancelledTasks,
    CancelTasks,
    ListTasks,
    SessionInfo,
    SubmitBatch,
    Submitted,
    TaskInfo,
    TaskList,
    TaskOptions,
    TaskRef,
    Unwatch,
)
from flux.constants import FLUX_MATCHTAG_NONE

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from flamepy.core.client import Connection
    from flamepy.core.link import Link
    from flamepy.core.results import ResultStream
    from flux.packet import Packet

__all__ = ["Session", "TaskIterator", "TaskWatcher"]

_PAGE = 500


class Session:
    """A session of one application: a place to run tasks. Thread-safe.

    As a context manager it is closed at the end of the block: when all its tasks have ended (as
    `close(drain=True)`), or at once if the block is left with an exception (as `close(force=True)`).

    The attributes are a snapshot from the answer that made this object: id, application, state,
    creation_time, pending, running, succeed, failed, cancelled, completion_time, events. Ask
    `flamepy.get_session` for newer ones.
    """

    def __init__(self, connection: Connection, info: SessionInfo, stream: ResultStream) -> None:
        self.connection = connection
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
        self._stream = stream

    def __repr__(self) -> str:
        return f"<Session {self.id!r} of {self.application!r}, {SessionState(self.state).name}>"

    def common_data(self) -> bytes | None:
        """The data that every instance gets on entering, as given when the session was made."""
        return self._common_data

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
            return self._stream.submit(_check_input(input_data))
        return self._stream.submit(_check_input(input_data), options=_options_of(timeout, max_retries))

    def invoke(
        self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None
    ) -> bytes | None:
        """Run one task and wait for its output.

        Raises as `run` and its future do, and INVALID_STATE in a future's callback, which must not wait.
        """
        self._link.check_may_wait("invoke")
        return self._stream.invoke(_check_input(input_data), _options_of(timeout, max_retries))

    def create_task(self, input_data: bytes, *, timeout: float | None = None, max_retries: int | None = None) -> Task:
        """Create a task; returns when the instance holds it, PENDING. Follow it with watch_task or get_task.

        The options are those of `run`. Raises FlameError as `run` does, NOT_FOUND if the session is gone.
        """
        options = _options_of(timeout, max_retries) or ()
        batch = SubmitBatch(self.id, FLUX_MATCHTAG_NONE, 0, [_check_input(input_data)], *options)
        made = self._link.call("flame.task.submit", msgspec.msgpack.encode(batch), _decode_submitted)
        created = time_of(made.creation_time_ms)
        return Task(
            id=str(made.first_task),
            session_id=self.id,
            state=TaskState.PENDING,
            creation_time=created,
            input=input_data,
            events=[Event(0, TASK_CREATED_TEXT, created)],
        )

    def cancel_task(self, task_id: str) -> bool:
        """Cancel a task that waits or runs; returns False if it had ended before.

        It is CANCELLED at once for everyone who looks or waits. One that waits never runs; a service that does
        not come back from one that runs is killed soon. Raises FlameError NOT_FOUND, INVALID_ARGUMENT for no number.
        """
        task = self._task_ref(task_id).task
        return task in self._link.ask("flame.task.cancel", CancelTasks(self.id, [task]), CancelledTasks).cancelled

    def get_task(self, task_id: str) -> Task:
        """One task with input, output and events. Raises FlameError NOT_FOUND, INVALID_ARGUMENT for no number."""
        return task_of(self._link.ask("flame.task.get", self._task_ref(task_id), TaskInfo))

    def list_tasks(self) -> TaskIterator:
        """All tasks in the order of their ids, fetched page by page."""
        return TaskIterator(self._link, self.id)

    def watch_task(self, task_id: str, timeout: float | None = None) -> TaskWatcher:
        """The task's states from now on, ending with its final one. timeout is in seconds, for all of it.

        `TaskWatcher.close`, or a with block, ends it before.
        """
        return TaskWatcher(self._link, self._task_ref(task_id), timeout)

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

    def _task_ref(self, task_id: str) -> TaskRef:
        try:
            return TaskRef(self.id, int(task_id))
        except (ValueError, TypeError):
            raise FlameError(
                FlameErrorCode.INVALID_ARGUMENT, f"task id {task_id!r} is not a number; ids are '1', '2', …"
            ) from None


def _check_input(input_data: bytes) -> bytes:
    if not isinstance(input_data, bytes):
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT, f"a task's input must be bytes, got {type(input_data).__name__}"
        )
    if len(input_data) > MAX_DATA_BYTES:
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT,
            f"a task's input has {len(input_data)} bytes, at most {MAX_DATA_BYTES} travel",
        )
    return input_data


def _options_of(timeout: float | None, max_retries: int | None) -> TaskOptions | None:
    if timeout is None and max_retries is None:
        return None
    if timeout is not None and not (isinstance(timeout, (int, float)) and 0 < timeout < math.inf):
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"timeout is {timeout!r}, want seconds, more than 0")
    if max_retries is not None and not (isinstance(max_retries, int) and max_retries >= 0):
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"max_retries is {max_retries!r}, want 0 or more")
    return TaskOptions(timeout, max_retries)


def _decode_submitted(data: bytes) -> Submitted:
    return msgspec.json.decode(data.rstrip(b"\0"), type=Submitted)


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
        self._tag = link.open_stream("flame.task.watch", task, self)
        self._is_over = False

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
            raise TimeoutError(
                f"task {self._task.task} of session {self._task.session!r} has not ended within {self._timeout} s"
            ) from None
