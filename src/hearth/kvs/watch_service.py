# SPDX-License-Identifier: Apache-2.0
"""The service `kvs-watch`: look-ups that are answered again as the store changes, or wait for their key."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flux.constants import FLUX_KVS_STREAM, FLUX_KVS_WATCH, FLUX_ROLE_ALL
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, no_payload
from hearth.broker.service import LATER, Service
from hearth.broker.streams import is_streaming
from hearth.kvs.watches import Watch, Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flux.packet import Packet
    from hearth.broker.router import Router
    from hearth.kvs.batch import Batch
    from hearth.kvs.namespaces import Namespace, Namespaces
    from hearth.kvs.objects import Directory

__all__ = ["KvsWatchService"]


class _Lookup(msgspec.Struct):
    key: str
    namespace: str
    flags: int


class _Cancel(msgspec.Struct):
    matchtag: int


class KvsWatchService(Service):
    """kvs-watch.lookup, kvs-watch.cancel. Told by `KvsService` what has changed."""

    def __init__(self, router: Router, namespaces: Namespaces, batch: Batch) -> None:
        super().__init__(router, "kvs-watch")
        self._namespaces, self._batch = namespaces, batch
        self._watches = Watches()
        self.add_method("lookup", JsonPayload(_Lookup), self._lookup)
        self.add_method("cancel", JsonPayload(_Cancel), self._cancel)
        self.add_method("disconnect", no_payload, self._disconnect, FLUX_ROLE_ALL)

    def __len__(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def handle(self, request: Packet) -> None:
        """Answer, but behind all that has changed."""
        if not self._batch.comes_behind(lambda: self.handle(request)):
            super().handle(request)

    def _lookup(self, request: Packet, wanted: _Lookup) -> object:
        if wanted.flags & FLUX_KVS_WATCH and wanted.flags & FLUX_KVS_STREAM:
            raise ServiceError(errno.EINVAL, "Cannot KVS watch and stream at the same time")
        if wanted.flags & (FLUX_KVS_WATCH | FLUX_KVS_STREAM) and not is_streaming(request):
            raise ServiceError(errno.EPROTO, "KVS watch request rejected without streaming RPC flag")
        request.payload = None  # it may be kept for long, and a key is all that is left of it
        watch = Watch(request, wanted.namespace, wanted.key, wanted.flags)
        self._watches.add(watch)
        self._answer(watch, self._namespaces.root_of)
        return LATER

    def _answer(self, watch: Watch, root_of: Callable[[str], Directory]) -> None:
        for answer in watch.answers(root_of):
            if isinstance(answer, ServiceError):
                self.router.respond_error(watch.request, answer.errnum, answer.text)
            else:
                self.router.respond(watch.request, answer)
        if watch.is_over:
            self._watches.remove(watch)

    def on_committed(self, state: Namespace, keys: Iterable[str]) -> None:
        """A commit that named these keys led to this state, which need not be the newest."""

        def root_of(name: str) -> Directory:
            return state.root if name == state.name else self._namespaces.root_of(name)

        for watch in self._watches.concerned(state.name, keys):
            self._answer(watch, root_of)

    def on_created(self, state: Namespace) -> None:
        """A namespace came; what waits for its keys looks at it."""
        self.on_committed(state, ())

    def on_removed(self, namespace: str) -> None:
        """A namespace went, and with it its watches, but for those that wait for a key of that name."""
        for watch in self._watches.of(namespace):
            if not watch.waits:
                self._watches.remove(watch)
                self.router.respond_error(watch.request, errno.ENOTSUP)

    def _cancel(self, request: Packet, cancelled: _Cancel) -> None:
        """End the sender's look-up with this tag; if there is none, nothing happens."""
        watch = self._watches.take(request, cancelled.matchtag)
        if watch is not None:
            self.router.respond_error(watch.request, errno.ENODATA)

    def _disconnect(self, request: Packet, nothing: None) -> None:
        self._watches.drop(request)
