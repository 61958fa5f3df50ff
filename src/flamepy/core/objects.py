# SPDX-License-Identifier: Apache-2.0
"""Objects: values that clients and services of an instance share, by reference.

The functions work for the whole process. New objects go to the cache endpoint that is configured, else to
the instance of the shared connection; afterwards each is where its reference says. All are thread-safe.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from flamepy.core.client import Connection, ConnectionInstance, connect
from flamepy.core.config import FlameContext
from flamepy.core.object_cache import CachedObject, Deserializer, ObjectCache
from flamepy.core.object_key import ObjectKey
from flamepy.core.object_ref import ObjectRef
from flamepy.core.types import FlameError, FlameErrorCode, ObjectNotFoundError
from flamepy.core.values import encode_value
from flamepy.protocol import (
    MAX_DATA_BYTES,
    DeleteObjects,
    GetObject,
    ObjectData,
    ObjectInfo,
    WriteObject,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Objects", "delete_objects", "get_object", "patch_object", "put_object", "update_object"]

_T = TypeVar("_T")

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_decode_info = msgspec.json.Decoder(ObjectInfo).decode
_decode_data = msgspec.msgpack.Decoder(ObjectData).decode


class Objects:
    """Reads and writes objects. Thread-safe.

    shared gives the connection to use for shared_endpoint, and for new objects unless home names another
    endpoint. Connections to other endpoints are made when references lead there.
    """

    def __init__(
        self, shared: Callable[[], Connection], shared_endpoint: str | None = None, home: str | None = None
    ) -> None:
        self._shared = shared
        self._shared_endpoint = shared_endpoint
        self._home = home
        self._lock = threading.Lock()
        self._connections: dict[str, Connection] = {}
        self._cache = ObjectCache()

    def put(self, key_prefix: str, obj: Any) -> ObjectRef:
        """See `put_object`."""
        key = ObjectKey.from_prefix(key_prefix)
        if key.is_all_sessions():
            raise ValueError(f"object key prefix {key_prefix!r}: a new object goes to one session, not to all")
        connection = self._connection_to(self._home)
        ref = _write(connection, "flame.object.put", key, obj)
        with self._lock:
            self._connections.setdefault(ref.endpoint, connection)
        return ref

    def get(self, ref: ObjectRef, deserializer: Deserializer | None = None) -> Any:
        """See `get_object`."""
        return self._fetch(ref).value(deserializer)

    def update(self, ref: ObjectRef, new_obj: Any) -> ObjectRef:
        """See `update_object`."""
        return self._change("flame.object.update", ref, new_obj)

    def patch(self, ref: ObjectRef, delta: Any) -> ObjectRef:
        """See `patch_object`."""
        return self._change("flame.object.patch", ref, delta)

    def delete(self, key_prefix: str) -> None:
        """See `delete_objects`."""
        key = ObjectKey.from_path(key_prefix)
        request = _encode_json(DeleteObjects(str(key))) + b"\0"
        self._connection_to(self._home).link.call("flame.object.delete", request, bytes)
        self._cache.forget_all(key.matches_key if key.object_id is None else str(key).__eq__)

    def _change(self, topic: str, ref: ObjectRef, value: Any) -> ObjectRef:
        key = ObjectKey.from_key(ref.key)
        changed = _write(self._connection_to(ref.endpoint), topic, key, value)
        self._cache.forget(ref.endpoint, str(key))
        return changed

    def _fetch(self, ref: ObjectRef) -> CachedObject:
        """The object as it is now; of it only that travels which is not known yet."""
        key = str(ObjectKey.from_key(ref.key))
        known = self._cache.find(ref.endpoint, key) if ref.version else None
        request = GetObject(key) if known is None else GetObject(key, known.version, known.epoch)
        payload = _encode_json(request) + b"\0"
        answer = _call(self._connection_to(ref.endpoint), "flame.object.get", payload, _decode_data)
        patches = [data for _, data in answer.patches]
        if answer.base is not None:
            found = CachedObject(answer.epoch, answer.version, answer.base, patches)
        elif known is None:
            raise FlameError(FlameErrorCode.INTERNAL, f"object {key!r}: the instance sent no base; please report it")
        elif patches:
            found = known.with_patches(answer.version, patches)
        else:
            return known
        return self._cache.keep(ref.endpoint, key, found)

    def _connection_to(self, endpoint: str | None) -> Connection:
        """A connection to an endpoint. Raises FlameError INVALID_CONFIG if nobody answers there."""
        if endpoint is None or endpoint == self._shared_endpoint:
            return self._shared()
        with self._lock:
            connection = self._connections.get(endpoint)
            if connection is None or connection.link.is_lost:
                connection = self._connections[endpoint] = connect(endpoint)
            return connection


def _write(connection: Connection, topic: str, key: ObjectKey, value: Any) -> ObjectRef:
    data = encode_value(value)
    if len(data) > MAX_DATA_BYTES:
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT,
            f"object {str(key)!r} has {len(data)} bytes, at most {MAX_DATA_BYTES} travel; split it",
        )
    written = _call(connection, topic, _encode(WriteObject(str(key), data)), _read_info)
    return ObjectRef(written.endpoint, written.key, written.version)


def _read_info(payload: bytes) -> ObjectInfo:
    return _decode_info(payload.rstrip(b"\0"))


def _call(connection: Connection, topic: str, payload: bytes, returns: Callable[[bytes], _T]) -> _T:
    try:
        return connection.link.call(topic, payload, returns)
    except FlameError as error:
        if error.code is FlameErrorCode.NOT_FOUND:
            raise ObjectNotFoundError(error.code, error.message) from None
        raise


class _ProcessWide:
    """The `Objects` behind the functions, made at the first use and again in a forked child."""

    lock = threading.Lock()
    objects: Objects | None = None

    @classmethod
    def instance(cls) -> Objects:
        """Raises FlameError INVALID_CONFIG if the configuration is wrong. It is read once: YAML takes its time."""
        with cls.lock:
            if cls.objects is None:
                context = FlameContext()
                cls.objects = Objects(ConnectionInstance.instance, context.endpoint, context.cache_endpoint)
            return cls.objects

    @classmethod
    def forked(cls) -> None:
        cls.lock = threading.Lock()
        cls.objects = None


os.register_at_fork(after_in_child=_ProcessWide.forked)


def put_object(key_prefix: str, obj: Any) -> ObjectRef:
    """Keep a value as a new object below ``<app>/<session>``, version 1.

    Takes whatever cloudpickle takes. Raises ValueError for another prefix, FlameError INVALID_ARGUMENT for a
    value that is too large. When an instance holds more than it may, the objects used least recently are
    dropped, and all end with it.
    """
    return _ProcessWide.instance().put(key_prefix, obj)


def get_object(ref: ObjectRef, deserializer: Deserializer | None = None) -> Any:
    """The newest state of an object: its base, or deserializer(base, [delta, …]) with all deltas in order.

    Asks the instance each time, and fetches only what is new. As long as nothing is, the same deserializer
    (by equality) gives the same Python object again: treat it as read-only, or copy it. Reading runs code
    that is in the object. Raises ObjectNotFoundError, which is a FlameError NOT_FOUND and a ValueError.
    """
    return _ProcessWide.instance().get(ref, deserializer)


def update_object(ref: ObjectRef, new_obj: Any) -> ObjectRef:
    """Replace base and deltas of an object. Returns a reference with the new version; the old one works, too.

    An object that is gone comes back, with a version that it never had.
    """
    return _ProcessWide.instance().update(ref, new_obj)


def patch_object(ref: ObjectRef, delta: Any) -> ObjectRef:
    """Append a delta to an object. Returns a reference with the new version.

    Deltas of any number of writers have one order, which all readers see. Raises ObjectNotFoundError, and
    FlameError INVALID_STATE when the object has 1000 deltas: `update_object` takes them off.
    """
    return _ProcessWide.instance().patch(ref, delta)


def delete_objects(key_prefix: str) -> None:
    """Delete ``<app>/<session>/<object>``, all of ``<app>/<session>``, or all of an application: ``<app>/*``.

    Those that do not exist are no error. Raises ValueError for any other text.
    """
    _ProcessWide.instance().delete(key_prefix)
