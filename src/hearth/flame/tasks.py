# SPDX-License-Identifier: Apache-2.0
"""flame.task.get, .list, .watch and .unwatch: looking at tasks."""

from __future__ import annotations

import errno
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
        """An answer made of these tasks; what only the store still has of them is read first."""
        dropped = self._dropped(tasks)
        if not dropped:
            return shape([views.task_info(session, task) for task in tasks])

        def send(data: Data) -> None:
            infos = [views.task_info(session, task, data.get(task.id)) for task in tasks]
            self._router.respond(request, encode_json(shape(infos)))

        self._read(request, session, dropped, send)
        return LATER

    def _dropped(self, tasks: list[Task]) -> list[int]:
        """Those of which only the store still has input and output."""
        return [task.id for task in tasks if task.is_forgotten] if self._durability.has_store else []

    def _read(self, request: Packet, session: Session, task_ids: list[int], send: Callable[[Data], None]) -> None:
        """Have an answer made of what the store has of these tasks; if that cannot be read, the error is the answer."""

        def done(data: Data | None, error: OSError | None) -> None:
            if data is None:
                self._router.respond_error(request, errno.EIO, None if error is None else error.strerror)
            else:
                send(data)
            self._service.something_happened()

        self._durability.read(session.key, task_ids, done)

    def _watch(self, request: Packet, asked: protocol.TaskRef) -> object:
        if not request.flags & FLUX_MSGFLAG_STREAMING:
            raise ServiceError(errno.EPROTO, "flame.task.watch wants a streaming request")
        watch = _Watch(request, asked.session, asked.task)
        session, task = self._tasks.watch(asked.session, asked.task, watch)
        self._watches.setdefault(sender_of(request), []).append(watch)
        now = TellWatcher(watch, session, task)
        # As with other looks: how it is now is told also while nothing can be stored.
        self._durability.answer(lambda: self._send(now), lambda why: self._send(now))
        return LATER

    def _tell(self, action: TellWatcher) -> None:
        """Send the state, and the end of the stream behind the last one, once it is stored."""
        self._durability.deliver(lambda: self._send(action))

    def _send(self, action: TellWatcher) -> None:
        watch = action.watcher
        assert isinstance(watch, _Watch)
        mine = self._watches.get(sender_of(watch.request), [])
        if watch not in mine:
            return  # it ended after the engine had decided to tell it, in the same batch
        if action.task.state >= TaskState.SUCCEED:
            mine.remove(watch)
            self._send_last(watch.request, action)
        else:
            self._router.respond(watch.request, encode_json(views.task_info(action.session, action.task)))

    def _send_last(self, request: Packet, action: TellWatcher) -> None:
        session, task = action.session, action.task

        def send(data: Data) -> None:
            self._router.respond(request, encode_json(views.task_info(session, task, data.get(task.id))))
            self._router.respond_error(request, errno.ENODATA)

        dropped = self._dropped([task])
        if dropped:
            self._read(request, session, dropped, send)
        else:
            send({})

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
