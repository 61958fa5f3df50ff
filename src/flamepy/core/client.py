# SPDX-License-Identifier: Apache-2.0
"""Connections, and the module-level helpers that work on one connection for the whole process."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from flamepy.core.address import check_address
from flamepy.core.config import FlameClientTls, FlameContext
from flamepy.core.convert import application_of
from flamepy.core.errors import connect_error
from flamepy.core.link import Link
from flamepy.core.patience import reconnect_timeout as reconnect_timeout_of
from flamepy.core.requests import check_registered, closing_of, creation_of, opening_of, registration_of
from flamepy.core.results import ResultStream
from flamepy.core.session import Session, TaskIterator, TaskWatcher
from flamepy.core.types import (
    Application,
    ApplicationAttributes,
    FlameError,
    FlameErrorCode,
    ResourceRequirement,
    SessionAttributes,
)
from flamepy.protocol import (
    ApplicationInfo,
    ApplicationList,
    ExecutorList,
    Name,
    NodeInfo,
    NodeList,
    SessionInfo,
    SessionList,
    SessionRef,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flamepy.core.cluster import Executor, Node
    from flamepy.core.embedded import Embedded

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
    "get_node",
    "get_session",
    "list_applications",
    "list_executors",
    "list_nodes",
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
        request = registration_of(name, app_attrs)

        def made_before() -> None:
            check_registered(request, self.link.ask("flame.application.get", Name(name), ApplicationInfo))

        self.link.ask("flame.application.register", request, _NOTHING, (FlameErrorCode.ALREADY_EXISTS, made_before))

    def update_application(self, name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
        """Give an application other attributes, in place of all it had; those that are left out are unset.

        Raises as `register_application` does, but for ALREADY_EXISTS; FlameError NOT_FOUND; INVALID_STATE while
        sessions of it are open.
        """
        self.link.ask("flame.application.update", registration_of(name, app_attrs), _NOTHING)

    def unregister_application(self, name: str) -> None:
        """Remove an application and its closed sessions. Raises FlameError NOT_FOUND, INVALID_STATE while in use."""
        gone_before = (FlameErrorCode.NOT_FOUND, lambda: None)
        self.link.ask("flame.application.unregister", Name(name), _NOTHING, gone_before)

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
        request = creation_of(attrs)

        def made_before() -> SessionInfo:
            return self.link.ask("flame.session.open", request, SessionInfo)

        info = self.link.ask("flame.session.create", request, SessionInfo, (FlameErrorCode.ALREADY_EXISTS, made_before))
        return self._session(info)

    def open_session(self, session_id: str, spec: SessionAttributes | None = None) -> Session:
        """The open session of that id; with a spec it is made if there is none.

        Raises FlameError NOT_FOUND; INVALID_ARGUMENT if it is closed or was made with another spec.
        """
        return self._session(self.link.ask("flame.session.open", opening_of(session_id, spec), SessionInfo))

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
        request = closing_of(session_id, drain=drain, force=force)
        self.link.flush()
        session = self._session(self.link.ask("flame.session.close", request, SessionInfo))
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

    # -- nodes and executors; what is needed for them is loaded by those who ask: 5 ms of every service's start

    def list_nodes(self) -> list[Node]:
        """Every machine that runs executors."""
        from flamepy.core.cluster import node_of

        return [node_of(info) for info in self.link.ask("flame.node.list", None, NodeList).nodes]

    def get_node(self, name: str) -> Node:
        """The node of that name. Raises FlameError NOT_FOUND."""
        from flamepy.core.cluster import node_of

        return node_of(self.link.ask("flame.node.get", Name(name), NodeInfo))

    def list_executors(self) -> list[Executor]:
        """Every executor, of all sessions, oldest first."""
        from flamepy.core.cluster import executor_of

        return [executor_of(info) for info in self.link.ask("flame.executor.list", None, ExecutorList).executors]

    def _session(self, info: SessionInfo) -> Session:
        with self._streams_lock:
            stream = self._streams.get(info.session)
            if stream is None or stream.has_ended:  # an id may come back after its application was unregistered
                stream = self._streams[info.session] = ResultStream(self.link, info.session)
        return Session(self, info, stream)

    def close(self) -> None:
        """End the connection; futures that still wait fail. Sessions stay as they are."""
        self.link.close()


def connect(
    addr: str, tls_config: FlameClientTls | None = None, *, reconnect_timeout: float | None = None
) -> Connection:
    """Connect to the instance at an address such as ``local:///run/user/1000/hearth/local-0``.

    reconnect_timeout: for how many seconds a connection that breaks is made anew, while what waits for answers
    goes on waiting; None takes FLAME_RECONNECT_TIMEOUT, else 30; 0 fails what waits at once. Raises FlameError
    INVALID_CONFIG if the address is empty or malformed, nobody answers there, or the instance is another user's.
    """
    check_address(addr, tls_config)
    reconnect_timeout_s = reconnect_timeout_of(reconnect_timeout)
    try:
        return Connection(addr, Link(addr, reconnect_timeout_s))
    except OSError as error:
        raise connect_error(addr, error) from error


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
                    return connect(cls._embedded.uri, reconnect_timeout=0)
            cls._embedded.stop()
        from flamepy.core.embedded import Embedded  # loads subprocess and the like, which services have no use for

        cls._embedded = Embedded()
        return connect(cls._embedded.uri, reconnect_timeout=0)  # once it is gone, everything in it is

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


def list_nodes() -> list[Node]:
    """See `Connection.list_nodes`."""
    return ConnectionInstance.instance().list_nodes()


def get_node(name: str) -> Node:
    """See `Connection.get_node`."""
    return ConnectionInstance.instance().get_node(name)


def list_executors() -> list[Executor]:
    """See `Connection.list_executors`."""
    return ConnectionInstance.instance().list_executors()
