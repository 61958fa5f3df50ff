# SPDX-License-Identifier: Apache-2.0
"""The service `kvs`: look-ups, commits, and the namespaces they are in."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

from flux.constants import (
    FLUX_KVS_SYNC,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGTYPE_EVENT,
    FLUX_ROLE_ALL,
    FLUX_ROLE_LOCAL,
    FLUX_ROLE_OWNER,
    FLUX_USERID_UNKNOWN,
)
from flux.packet import Packet
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import JsonPayload, as_utf8, encode_json, no_payload
from hearth.broker.service import LATER, Service
from hearth.broker.streams import ends, sender_of
from hearth.kvs.commit import Operation, named_keys
from hearth.kvs.dirents import directory_ref
from hearth.kvs.lookup import look_up, present
from hearth.kvs.watches import found

if TYPE_CHECKING:
    from hearth.broker.router import Router
    from hearth.kvs.batch import Batch
    from hearth.kvs.namespaces import Namespace, Namespaces
    from hearth.kvs.objects import Directory
    from hearth.kvs.watch_service import KvsWatchService

__all__ = ["KvsService"]

_WAITING_MAX = 4096
_USERID_BITS = 32
_ME = (-1, FLUX_USERID_UNKNOWN)


class _Lookup(msgspec.Struct):
    key: str
    flags: int
    namespace: str | None = None
    rootdir: dict[str, Any] | None = None
    rootseq: int = -1


class _Commit(msgspec.Struct):
    ops: list[Operation]
    namespace: str
    flags: int


class _Name(msgspec.Struct):
    namespace: str


class _Version(msgspec.Struct):
    rootseq: int
    namespace: str


class _Create(msgspec.Struct):
    namespace: str
    rootref: str
    owner: int
    flags: int


class KvsService(Service):
    """kvs.*, for the owner. What changes something is answered when the batch is written, in order."""

    def __init__(self, router: Router, namespaces: Namespaces, batch: Batch, watches: KvsWatchService) -> None:
        super().__init__(router, "kvs")
        self._namespaces, self._batch, self._watches = namespaces, batch, watches
        self._waiting: list[tuple[Packet, _Version]] = []
        self._changing = {"kvs.commit", "kvs.namespace-create", "kvs.namespace-remove"}
        self.add_method("lookup", JsonPayload(_Lookup), self._lookup)
        self.add_method("lookup-plus", JsonPayload(_Lookup), self._lookup_plus)
        self.add_method("commit", JsonPayload(_Commit), self._commit)
        self.add_method("getroot", JsonPayload(_Name), self._getroot)
        self.add_method("wait-version", JsonPayload(_Version), self._wait_version)
        self.add_method("namespace-create", JsonPayload(_Create), self._create)
        self.add_method("namespace-remove", JsonPayload(_Name), self._remove)
        self.add_method("namespace-list", no_payload, self._list)
        self.add_method("stats-get", no_payload, self._stats, FLUX_ROLE_ALL)
        self.add_method("disconnect", no_payload, self._disconnect, FLUX_ROLE_ALL)

    def handle(self, request: Packet) -> None:
        """Change what is to be changed at once; all else must not see what is not written yet."""
        if request.topic in self._changing or not self._batch.comes_behind(lambda: self.handle(request)):
            super().handle(request)

    # -- looking

    def _lookup(self, request: Packet, wanted: _Lookup) -> object:
        root, _ = self._root(wanted)
        self.router.respond(request, found(self._look_up(root, wanted)))
        return LATER

    def _lookup_plus(self, request: Packet, wanted: _Lookup) -> dict[str, object]:
        root, sequence = self._root(wanted)
        where = {"rootseq": sequence, "rootref": root.ref}
        try:
            return {"val": msgspec.Raw(self._look_up(root, wanted)), **where}
        except ServiceError as error:
            if error.errnum != errno.ENOENT:
                raise
            return {"errno": errno.ENOENT, **where}

    def _root(self, wanted: _Lookup) -> tuple[Directory, int]:
        """Where to look, and its sequence number as far as the client knows it."""
        if wanted.rootdir is not None:
            return directory_ref(self._namespaces.content, wanted.rootdir), wanted.rootseq
        if wanted.namespace is None:
            raise ServiceError(errno.EPROTO)
        state = self._namespaces.get(wanted.namespace)
        return state.root, state.sequence

    def _look_up(self, root: Directory, wanted: _Lookup) -> bytes:
        entry = look_up(root, self._namespaces.root_of, wanted.key, wanted.flags)
        return present(entry, wanted.flags)

    def _getroot(self, request: Packet, wanted: _Name) -> dict[str, object]:
        state = self._namespaces.get(wanted.namespace)
        return {**_version(state), "namespace": state.name, "owner": state.owner, "flags": state.flags}

    def _wait_version(self, request: Packet, wanted: _Version) -> object:
        """Answer when the namespace has come that far."""
        state = self._namespaces.get(wanted.namespace)
        if state.sequence >= wanted.rootseq:
            return _version(state)
        if len(self._waiting) >= _WAITING_MAX:
            raise ServiceError(errno.EAGAIN, f"over {_WAITING_MAX} requests wait for a version")
        request.payload = None
        self._waiting.append((request, wanted))
        return LATER

    def _list(self, request: Packet, nothing: None) -> dict[str, object]:
        states = self._namespaces.all().values()
        return {"namespaces": [{"namespace": it.name, "owner": it.owner, "flags": it.flags} for it in states]}

    def _stats(self, request: Packet, nothing: None) -> dict[str, int]:
        content = self._namespaces.content
        return {
            "bytes": content.size_bytes,
            "objects": len(content),
            "namespaces": len(self._namespaces.all()),
            "watches": len(self._watches),
        }

    # -- changing

    def _commit(self, request: Packet, wanted: _Commit) -> object:
        self._batch.begin()
        keys = named_keys(wanted.ops)
        state = self._namespaces.commit(wanted.namespace, wanted.ops)
        self._batch.when_written(
            request, lambda: self._tell_commit(request, state, keys), to_disk=bool(wanted.flags & FLUX_KVS_SYNC)
        )
        return LATER

    def _tell_commit(self, request: Packet, state: Namespace, keys: dict[str, None]) -> None:
        names = [f"{as_utf8(sender_of(request))}.{request.aux2}"]
        about = {"namespace": state.name, "owner": state.owner, "names": names, "keys": keys}
        self._publish(state.name, "setroot", {**_version(state), **about})
        self.router.respond(request, encode_json(_version(state)))
        self._watches.on_committed(state, keys)
        self._tell_version(state)

    def _tell_version(self, state: Namespace) -> None:
        """Answer who waited for this."""
        waiting, self._waiting = self._waiting, []
        for request, wanted in waiting:
            if wanted.namespace == state.name and wanted.rootseq <= state.sequence:
                self.router.respond(request, encode_json(_version(state)))
            else:
                self._waiting.append((request, wanted))

    def _create(self, request: Packet, wanted: _Create) -> object:
        owner = request.userid if wanted.owner in _ME else wanted.owner
        if owner < 0 or owner >> _USERID_BITS:
            raise ServiceError(errno.EINVAL, "owner is no userid")
        self._batch.begin()
        state = self._namespaces.create(wanted.namespace, owner, wanted.rootref)

        def tell() -> None:
            self._publish(state.name, "created", {**_version(state), "namespace": state.name, "owner": owner})
            self.router.respond(request)
            self._watches.on_created(state)

        self._batch.when_written(request, tell)
        return LATER

    def _remove(self, request: Packet, wanted: _Name) -> object:
        """One that is not there is as good as removed."""
        self._batch.begin()
        is_change = self._namespaces.remove(wanted.namespace)

        def tell() -> None:
            if is_change:
                self._publish(wanted.namespace, "removed", {"namespace": wanted.namespace})
                self._watches.on_removed(wanted.namespace)
                self._give_up_waiting(wanted.namespace)
            self.router.respond(request)

        self._batch.when_written(request, tell)
        return LATER

    def _give_up_waiting(self, namespace: str) -> None:
        for waiting, _ in [held for held in self._waiting if held[1].namespace == namespace]:
            self.router.respond_error(waiting, errno.ENOTSUP)
        self._waiting = [held for held in self._waiting if held[1].namespace != namespace]

    def _publish(self, namespace: str, what: str, payload: dict[str, object]) -> None:
        """A private event, as from the owner."""
        event = Packet(
            FLUX_MSGTYPE_EVENT,
            FLUX_MSGFLAG_PRIVATE,
            self.router.owner,
            FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL,
            routes=[self.router.uuid],
            topic=f"kvs.namespace-{namespace}-{what}",
            payload=encode_json(payload),
        )
        self.router.publish(event)

    def _disconnect(self, request: Packet, nothing: None) -> None:
        self._waiting = [held for held in self._waiting if not ends(request, held[0])]


def _version(state: Namespace) -> dict[str, object]:
    return {"rootseq": state.sequence, "rootref": state.root.ref}
