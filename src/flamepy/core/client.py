# SPDX-License-Identifier: Apache-2.0
"""Connections, and the module-level helpers that work on one connection for the whole process."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from flamepy.core.config import FlameClientTls, FlameContext
from flamepy.core.convert import application_of
from flamepy.core.embedded import Embedded
from flamepy.core.link import Link
from flamepy.core.results import ResultStream
from flamepy.core.session import Session, TaskIterator, TaskWatcher
from flamepy.core.types import (
    Application,
    ApplicationAttributes,
    FlameError,
    FlameErrorCode,
    ResourceRequirement,
    SessionAttributes,
    short_name,
)
from flamepy.protocol import (
    MAX_COMMON_DATA_BYTES,
    ApplicationInfo,
    ApplicationList,
    CloseMode,
    CloseSession,
    CreateSession,
    Name,
    RegisterApplication,
    SessionInfo,
    SessionList,
    SessionRef,
    SessionSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Connection",
    "ConnectionInstance",
    "Session",
    "TaskIterator",
    "TaskWatcher",
    "close_session",
    "connect",
    "create_session",
    "delete_session",
    "get_application",
    "get_session",
    "list_applications",
    "list_sessions",
    "open_session",
    "register_application",
    "unregister_application",
    "update_application",
]

_NOTHING = type(None)


class Connection:
    """A connection to one instance. Thread-safe. Attributes: addr, link (the transport)."""

    def __init__(self, addr: str, link: Link) -> None:
        self.addr = addr
        self.link = link
        self._streams: weakref.WeakValueDictionary[str, ResultStream] = weakref.WeakValueDictionary()
        """By session, as long as somebody holds the session or waits for its results."""
        self._streams_lock = threading.Lock()

    # -- applications

    def register_application(self, name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
        """Register a recipe under a name.

        Raises FlameError ALREADY_EXISTS, INVALID_ARGUMENT for a name or attribute out of bounds, and
        TypeError for a mapping with an unknown key.
        """
        self.link.ask("flame.application.register", RegisterApplication(name, _attributes_of(app_attrs)), _NOTHING)

    def update_application(self, name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
        """Give an application other attributes, in place of all it had; those that are left out are unset.

        Raises as `register_application` does, but for ALREADY_EXISTS; FlameError NOT_FOUND; INVALID_STATE while
        sessions of it are open.
        """
        self.link.ask("flame.application.update", RegisterApplication(name, _attributes_of(app_attrs)), _NOTHING)

    def unregister_application(self, name: str) -> None:
        """Remove an application and its closed sessions. Raises FlameError NOT_FOUND, INVALID_STATE while in use."""
        self.link.ask("flame.application.unregister", Name(name), _NOTHING)

    def get_application(self, name: str) -> Application | None:
        """The application, or None if there is none of that name."""
        try:
            return application_of(self.link.ask("flame.application.get", Name(name), ApplicationInfo))
        except FlameError as error:
            if error.code is FlameErrorCode.NOT_FOUND:
                return None
            raise

    def list_applications(self) -> list[Application]:
        """Every application, by name."""
        return [
            application_of(info) for info in self.link.ask("flame.application.list", None, ApplicationList).applications
        ]

    # -- sessions

    def create_session(self, attrs: SessionAttributes) -> Session:
        """Make a session; without an id it gets one.

        Raises FlameError NOT_FOUND for an unknown application, ALREADY_EXISTS for an id in use,
        INVALID_ARGUMENT for anything out of bounds.
        """
        session_id = attrs.id if attrs.id is not None else short_name(attrs.application)
        request = CreateSession(session_id, _spec_of(attrs))
        return self._session(self.link.ask("flame.session.create", request, SessionInfo))

    def open_session(self, session_id: str, spec: SessionAttributes | None = None) -> Session:
        """The open session of that id; with a spec it is made if there is none.

        Raises FlameError NOT_FOUND; INVALID_ARGUMENT if it is closed or was made with another spec.
        """
        request = CreateSession(session_id, None if spec is None else _spec_of(spec))
        return self._session(self.link.ask("flame.session.open", request, SessionInfo))

    def get_session(self, session_id: str) -> Session:
        """The session as it is now, open or closed. Raises FlameError NOT_FOUND."""
        return self._session(self.link.ask("flame.session.get", SessionRef(session_id), SessionInfo))

    def list_sessions(self) -> list[Session]:
        """Every session, open and closed, oldest first."""
        return [self._session(info) for info in self.link.ask("flame.session.list", None, SessionList).sessions]

    def close_session(self, session_id: str, *, drain: bool = False, force: bool = False) -> Session:
        """Close a session; closing again is fine.

        What waits is cancelled. While a task runs this raises FlameError INVALID_STATE, and nothing has changed,
        unless one is chosen: drain takes no more tasks and returns when all there are have ended; who stops
        waiting for it does not stop it. force cancels what runs as well; services that do not come back from a
        task are killed soon.

        Raises FlameError NOT_FOUND, INVALID_ARGUMENT if both are chosen.
        """
        if drain and force:
            raise FlameError(FlameErrorCode.INVALID_ARGUMENT, "close with drain or with force, not with both")
        mode = CloseMode.DRAIN if drain else CloseMode.FORCE if force else CloseMode.PLAIN
        self.link.flush()
        session = self._session(self.link.ask("flame.session.close", CloseSession(session_id, mode), SessionInfo))
        self._forget_stream(session_id)
        return session

    def delete_session(self, session_id: str) -> None:
        """Forget a closed session and its tasks; its id is free again.

        Raises FlameError NOT_FOUND, INVALID_STATE if it is open.
        """
        self.link.ask("flame.session.delete", SessionRef(session_id), _NOTHING)
        self._forget_stream(session_id)

    def _forget_stream(self, session_id: str) -> None:
        with self._streams_lock:
            stream = self._streams.pop(session_id, None)
        if stream is not None:
            stream.close()

    def _session(self, info: SessionInfo) -> Session:
        with self._streams_lock:
            stream = self._streams.get(info.session)
            if stream is None or stream.has_ended:  # an id may come back after its application was unregistered
                stream = self._streams[info.session] = ResultStream(self.link, info.session)
        return Session(self, info, stream)

    def close(self) -> None:
        """End the connection; futures that still wait fail. Sessions stay as they are."""
        self.link.close()


def _attributes_of(given: ApplicationAttributes | Mapping[str, Any]) -> ApplicationAttributes:
    return given if isinstance(given, ApplicationAttributes) else ApplicationAttributes(**given)


def _spec_of(attrs: SessionAttributes) -> SessionSpec:
    if attrs.common_data is not None and not isinstance(attrs.common_data, bytes):
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT, f"common_data must be bytes, got {type(attrs.common_data).__name__}"
        )
    if len(attrs.common_data or b"") > MAX_COMMON_DATA_BYTES:
        raise FlameError(
            FlameErrorCode.INVALID_ARGUMENT,
            f"common_data has {len(attrs.common_data or b'')} bytes, at most {MAX_COMMON_DATA_BYTES} travel",
        )
    return SessionSpec(
        application=attrs.application,
        common_data=attrs.common_data,
        min_instances=attrs.min_instances,
        max_instances=attrs.max_instances,
        batch_size=attrs.batch_size,
        resreq=attrs.resreq,
        priority=attrs.priority,
        timeout_s=attrs.timeout,
        max_retries=attrs.max_retries,
    )


def connect(addr: str, tls_config: FlameClientTls | None = None) -> Connection:
    """Connect to the instance at an address such as ``local:///run/user/1000/hearth/local-0``.

    Raises FlameError INVALID_CONFIG if the address is empty or malformed, nobody answers there, or the
    instance is another user's.
    """
    if not addr:
        raise FlameError(FlameErrorCode.INVALID_CONFIG, "address cannot be empty")
    scheme, separator, _ = addr.partition("://")
    if not separator or scheme != "local":
        raise FlameError(
            FlameErrorCode.INVALID_CONFIG,
            f"address {addr!r}: scheme {scheme if separator else ''!r} is not served, use local://PATH"
            " as `hearth up` prints it",
        )
    if tls_config is not None:
        raise FlameError(FlameErrorCode.INVALID_CONFIG, f"address {addr!r}: a local socket takes no TLS")
    try:
        return Connection(addr, Link(addr))
    except PermissionError as error:
        raise FlameError(
            FlameErrorCode.INVALID_CONFIG,
            f"the instance at {addr} is somebody else's ({error.strerror}); start one of your own: hearth up",
        ) from error
    except OSError as error:
        raise FlameError(
            FlameErrorCode.INVALID_CONFIG,
            f"no instance answers at {addr} ({error.strerror or error}); start one: hearth up",
        ) from error


class ConnectionInstance:
    """The connection that the module-level helpers share."""

    _lock = threading.Lock()
    _connection: Connection | None = None
    _embedded: Embedded | None = None

    @classmethod
    def instance(cls) -> Connection:
        """The shared connection, made at the first call.

        It goes to FLAME_ENDPOINT, else to the endpoint in ~/.flame/flame.yaml, else to an embedded
        instance that ends with this process. One that is lost, or was made before a fork, is replaced.
        """
        with cls._lock:
            if cls._connection is None or cls._connection.link.is_lost:
                endpoint = FlameContext().endpoint
                cls._connection = connect(endpoint) if endpoint else cls._connect_embedded()
            return cls._connection

    @classmethod
    def _connect_embedded(cls) -> Connection:
        if cls._embedded is not None:
            with contextlib.suppress(FlameError):  # dying, though its process may not have ended yet
                if cls._embedded.is_alive:
                    return connect(cls._embedded.uri)
            cls._embedded.stop()
        cls._embedded = Embedded()
        return connect(cls._embedded.uri)

    @classmethod
    def _forked(cls) -> None:
        cls._lock = threading.Lock()


os.register_at_fork(after_in_child=ConnectionInstance._forked)


def create_session(
    application: str,
    common_data: bytes | None = None,
    session_id: str | None = None,
    min_instances: int = 0,
    max_instances: int | None = None,
    batch_size: int = 1,
    resreq: ResourceRequirement | None = None,
    priority: int = 0,
    timeout: float | None = None,
    max_retries: int | None = None,
) -> Session:
    """Make a session on the shared connection; see `Connection.create_session`.

    min_instances are started at once and kept; max_instances None means as many as there is room for.
    resreq is what each instance needs, one CPU and 1 GiB by default. priority, timeout and max_retries
    are those of SessionAttributes.
    """
    return ConnectionInstance.instance().create_session(
        SessionAttributes(
            application,
            session_id,
            common_data,
            min_instances,
            max_instances,
            batch_size,
            resreq,
            priority,
            timeout,
            max_retries,
        )
    )


def open_session(session_id: str, spec: SessionAttributes | None = None) -> Session:
    """See `Connection.open_session`."""
    return ConnectionInstance.instance().open_session(session_id, spec)


def get_session(session_id: str) -> Session:
    """See `Connection.get_session`."""
    return ConnectionInstance.instance().get_session(session_id)


def list_sessions() -> list[Session]:
    """See `Connection.list_sessions`."""
    return ConnectionInstance.instance().list_sessions()


def close_session(session_id: str, *, drain: bool = False, force: bool = False) -> Session:
    """See `Connection.close_session`."""
    return ConnectionInstance.instance().close_session(session_id, drain=drain, force=force)


def delete_session(session_id: str) -> None:
    """See `Connection.delete_session`."""
    ConnectionInstance.instance().delete_session(session_id)


def register_application(name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
    """See `Connection.register_application`."""
    ConnectionInstance.instance().register_application(name, app_attrs)


def update_application(name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
    """See `Connection.update_application`."""
    ConnectionInstance.instance().update_application(name, app_attrs)


def unregister_application(name: str) -> None:
    """See `Connection.unregister_application`."""
    ConnectionInstance.instance().unregister_application(name)


def get_application(name: str) -> Application | None:
    """See `Connection.get_application`."""
    return ConnectionInstance.instance().get_application(name)


def list_applications() -> list[Application]:
    """See `Connection.list_applications`."""
    return ConnectionInstance.instance().list_applications()
