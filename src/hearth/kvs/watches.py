# SPDX-License-Identifier: Apache-2.0
"""Look-ups that are answered again: which commits a watch answers to, and with what. Pure.

An answer is a payload, or a ServiceError, behind which there is none.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import msgspec

from flux.constants import (
    FLUX_KVS_STREAM,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    FLUX_KVS_WATCH_UNIQ,
)
from hearth.broker.credentials import ServiceError
from hearth.broker.payloads import encode_json
from hearth.broker.streams import ends, is_streaming
from hearth.kvs.keys import split_key
from hearth.kvs.lookup import look_up, present
from hearth.kvs.objects import Value, value_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flux.packet import Packet
    from hearth.kvs.objects import Directory, Entry

__all__ = ["WATCHES_MAX", "Answer", "Watch", "Watches", "found"]

WATCHES_MAX = 4096
"""In all; as many as other services keep streams."""

_ANY_COMMIT = FLUX_KVS_WATCH_FULL | FLUX_KVS_WAITCREATE
_COMPARES = FLUX_KVS_WATCH_UNIQ | FLUX_KVS_WATCH_FULL
_BY_PIECE = FLUX_KVS_WATCH_APPEND | FLUX_KVS_STREAM

Answer = bytes | None | ServiceError


def found(tree_object: bytes) -> bytes:
    """The payload of a look-up's answer."""
    return encode_json({"val": msgspec.Raw(tree_object)})


class Watch:
    """One request. is_over: no answer comes any more."""

    def __init__(self, request: Packet, namespace: str, key: str, flags: int) -> None:
        self.request, self.namespace, self.flags = request, namespace, flags
        self.key = ".".join(split_key(key)) or "."
        self.is_over = False
        self._last: Entry | None = None

    @property
    def waits(self) -> bool:
        """Whether the key may come later."""
        return self._last is None and bool(self.flags & FLUX_KVS_WAITCREATE)

    def answers(self, root_of: Callable[[str], Directory]) -> list[Answer]:
        """What to say now that these are the roots of the namespaces."""
        try:
            entry = look_up(root_of(self.namespace), root_of, self.key, self.flags)
            return self._first(entry) if self._last is None else self._next(entry)
        except ServiceError as error:
            if self.waits and error.errnum in (errno.ENOENT, errno.ENOTSUP):
                return []
            self.is_over = True
            return [error]

    def _first(self, entry: Entry) -> list[Answer]:
        answers: list[Answer] = list(self._whole(entry))
        self._last = entry
        if self.flags & FLUX_KVS_WATCH_INITIAL_SENTINEL:
            answers.append(None)
        if not self.flags & FLUX_KVS_WATCH:
            self.is_over = True
            if is_streaming(self.request):
                answers.append(ServiceError(errno.ENODATA))
        return answers

    def _whole(self, entry: Entry) -> list[bytes]:
        if self.flags & _BY_PIECE and isinstance(entry, Value):
            return [found(value_wire(piece)) for piece in entry.pieces()]
        return [found(present(entry, self.flags))]

    def _next(self, entry: Entry) -> list[Answer]:
        assert self._last is not None
        if self.flags & FLUX_KVS_WATCH_APPEND:
            return self._appended(self._last, entry)
        if self.flags & _COMPARES and entry.wire == self._last.wire:
            return []
        self._last = entry
        return [found(present(entry, self.flags))]

    def _appended(self, before: Entry, entry: Entry) -> list[Answer]:
        if not isinstance(entry, Value) or not isinstance(before, Value):
            return [found(present(entry, self.flags))]
        old, new = before.pieces(), entry.pieces()
        if len(new) <= len(old) or new[: len(old)] != old:
            raise ServiceError(errno.EINVAL, "value of key watched with WATCH_APPEND overwritten")
        self._last = entry
        return [found(value_wire(piece)) for piece in new[len(old) :]]


class Watches:
    """Those that wait, also by what they wait for."""

    def __init__(self) -> None:
        self._all: dict[int, Watch] = {}
        self._by_key: dict[tuple[str, str | None], dict[int, Watch]] = {}
        """By namespace and key; those that any commit may matter to also under None."""

    def __len__(self) -> int:
        return len(self._all)

    def add(self, watch: Watch) -> None:
        """Raises ServiceError EAGAIN if there are WATCHES_MAX already."""
        if len(self) >= WATCHES_MAX:
            raise ServiceError(errno.EAGAIN, f"over {WATCHES_MAX} watches are open, end some first")
        self._all[id(watch)] = watch
        for place in _places(watch):
            self._by_key.setdefault(place, {})[id(watch)] = watch

    def remove(self, watch: Watch) -> None:
        """It must be there."""
        del self._all[id(watch)]
        for place in _places(watch):
            del self._by_key[place][id(watch)]
            if not self._by_key[place]:
                del self._by_key[place]

    def take(self, sender: Packet, matchtag: int) -> Watch | None:
        """Take out the watch that the sender of this message opened with the tag, None if there is none.

        The whole stack of addresses must be equal: all but its top is what a sender says.
        """
        for watch in self._all.values():
            if watch.request.aux2 == matchtag and watch.request.routes == sender.routes:
                self.remove(watch)
                return watch
        return None

    def of(self, namespace: str) -> list[Watch]:
        """All of a namespace."""
        return [watch for watch in self._all.values() if watch.namespace == namespace]

    def concerned(self, namespace: str, keys: Iterable[str]) -> list[Watch]:
        """Those that a commit which names these keys may matter to."""
        concerned = {
            number: watch
            for number, watch in self._by_key.get((namespace, None), {}).items()
            if watch.waits or watch.flags & FLUX_KVS_WATCH_FULL
        }
        for key in keys:
            concerned.update(self._by_key.get((namespace, key), {}))
        return list(concerned.values())

    def drop(self, notice: Packet) -> None:
        """A disconnect notice came: forget its sender's."""
        for watch in list(self._all.values()):
            if ends(notice, watch.request):
                self.remove(watch)


def _places(watch: Watch) -> list[tuple[str, str | None]]:
    anywhere = [(watch.namespace, None)] if watch.flags & _ANY_COMMIT else []
    return [(watch.namespace, watch.key), *anywhere]
