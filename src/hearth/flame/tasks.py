# SPDX-License-Identifier: Apache-2.0
"""flame.task.get, .list, .watch and .unwatch: looking at tasks."""

from __future__ import annotations

import copy
import errno
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flamepy import protocol
from flamepy.core.types import TaskState
from flux.constants import FLUX_MSGFLAG_STREAMING
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, encode_json, no_payload
from hearth.broker.service import LATER
from hearth.broker.streams import sender_of
from hearth.engine import views
from hearth.engine.actions import TellWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flux.packet import Packet
    from hearth.engine.model import Session, Task
    from hearth.flame.service import FlameService
    from hearth.store.writer import Data

__all__ = ["TaskViews"]

_PAGE_MAX = 10_000
_PAGE_BYTES = 16 << 20


@dataclass(eq=False, slots=True)
class _Watch:
    """Somebody's open flame.task.watch."""

    request: Packet
    session: str
    task: int


class TaskViews:
    """Single tasks, pages of tasks, and open watches."""

    def __init__(self, service: FlameService) -> None:
        self._service = service
        self._tasks = service.engine.tasks
        self._durability = service.durability
        self._router = service.router
        self._watches: dict[str, list[_Watch]] = {}
        """By sender."""
        service.serve("task.get", JsonPayload(protocol.TaskRef), self._get)
        service.serve("task.list", JsonPayload(protocol.ListTasks), self._list)
        service.serve("task.watch", JsonPayload(protocol.TaskRef), self._watch)
        service.serve("task.unwatch", JsonPayload(protocol.Unwatch), self._unwatch)
        service.add_method("task.disconnect", no_payload, self._disconnect)
        service.on_action(TellWatcher, self._tell)

    def _get(self, request: Packet, asked: protocol.TaskRef) -> object:
        session, task = self._tasks.get(asked.session, asked.task)
        return self._answer(request, session, [task], lambda infos: infos[0])

    def _list(self, request: Packet, asked: protocol.ListTasks) -> object:
        """A page ends at its limit, or when it has grown heavy."""
        session, tasks = self._tasks.page(asked.session, asked.after, min(asked.limit, _PAGE_MAX))
        page = list(_light(tasks))
        is_complete = not page or page[-1].id == len(session.tasks)
        return self._answer(request, session, page, lambda infos: protocol.TaskList(infos, is_complete))

    def _answer(
        self,
        request: Packet,
        session: Session,
        tasks: list[Task],
        shape: Callable[[list[protocol.TaskInfo]], object],
    ) -> object:
        """An answer made of these tasks as they are now; what only the store still has of them is read first."""
        if not self._has_dropped(tasks):
            return shape([views.task_info(session, task) for task in tasks])

        def done(whole: list[Task] | None, why: str | None) -> None:
            if whole is None:
                self._router.respond_error(request, errno.EIO, why)
                return
            answer = encode_json(shape([views.task_info(session, task) for task in whole]))
            send = functools.partial(self._router.respond, request, answer)
            self._durability.answer(send, lambda why: send())

        self._read_dropped(session, tasks, done)
        return LATER

    def _has_dropped(self, tasks: Iterable[Task]) -> bool:
        return self._durability.has_store and any(task.is_forgotten for task in tasks)

    def _read_dropped(
        self, session: Session, tasks: Iterable[Task], then: Callable[[list[Task] | None, str | None], object]
    ) -> None:
        """Give copies of the tasks as they are now, with all that the store has of them; or None, and why."""
        whole = list(map(copy.copy, tasks))

        def done(data: Data | None, error: OSError | None) -> None:
            if data is None:
                then(None, None if error is None else error.strerror)
            else:
                for task in whole:
                    if task.is_forgotten:
                        task.input, task.output = data[task.id]
                        task.is_forgotten = False
                then(whole, None)
            self._service.something_happened()

        self._durability.read(session.key, [task.id for task in whole if task.is_forgotten], done)

    def _watch(self, request: Packet, asked: protocol.TaskRef) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.task.watch wants a streaming request")
        watch = _Watch(request, asked.session, asked.task)
        session, task = self._tasks.watch(asked.session, asked.task, watch)
        self._watches.setdefault(sender_of(request), []).append(watch)
        if not self._has_dropped([task]):
            self._tell_now(TellWatcher(watch, session, copy.copy(task)))
            return LATER

        def done(whole: list[Task] | None, why: str | None) -> None:
            if whole is not None:
                self._tell_now(TellWatcher(watch, session, whole[0]))
            elif self._forget(watch):
                self._router.respond_error(request, errno.EIO, why)

        self._read_dropped(session, [task], done)
        return LATER

    def _tell_now(self, action: TellWatcher) -> None:
        """As with other looks: how it is now is told also while nothing can be stored."""
        self._durability.answer(lambda: self._send(action), lambda why: self._send(action))

    def _tell(self, action: TellWatcher) -> None:
        """Send the state, and the end of the stream behind the last one, once it is stored."""
        self._durability.deliver(lambda: self._send(action))

    def _send(self, action: TellWatcher) -> None:
        watch = action.watcher
        assert isinstance(watch, _Watch)
        if watch not in self._watches.get(sender_of(watch.request), ()):
            return  # it ended after the engine had decided to tell it, in the same batch
        self._router.respond(watch.request, encode_json(views.task_info(action.session, action.task)))
        if action.task.state >= TaskState.SUCCEED:
            self._router.respond_error(watch.request, errno.ENODATA)
            self._forget(watch)

    def _forget(self, watch: _Watch) -> bool:
        """Whether it was still open."""
        mine = self._watches.get(sender_of(watch.request), [])
        if watch not in mine:
            return False
        mine.remove(watch)
        return True

    def _unwatch(self, request: Packet, asked: protocol.Unwatch) -> None:
        """End the sender's own watch of that matchtag, if it has not ended yet."""
        mine = self._watches.get(sender_of(request), [])
        for watch in [watch for watch in mine if watch.request.aux2 == asked.matchtag]:
            mine.remove(watch)
            self._tasks.unwatch(watch.session, watch.task, watch)
            self._router.respond_error(watch.request, errno.ENODATA)

    def _disconnect(self, request: Packet, nothing: None) -> object:
        for watch in self._watches.pop(sender_of(request), ()):
            self._tasks.unwatch(watch.session, watch.task, watch)
        return LATER


def _light(tasks: Iterable[Task]) -> Iterator[Task]:
    """As many of the tasks as one answer should carry, at least one."""
    size = 0
    for task in tasks:
        if size > _PAGE_BYTES:
            return
        size += task.size_bytes
        yield task
