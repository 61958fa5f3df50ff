# SPDX-License-Identifier: Apache-2.0
"""Connections on asyncio: `flamepy.Connection` with coroutines."""

from __future__ import annotations

import asyncio
import errno
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from flamepy.aio.link import Link, open_stream
from flamepy.aio.opening import Opening
from flamepy.aio.results import ResultStream
from flamepy.aio.session import Session
from flamepy.core.address import check_address
from flamepy.core.client import ConnectionInstance
from flamepy.core.cluster import Executor, Node, executor_of, node_of
from flamepy.core.config import FlameContext
from flamepy.core.convert import application_of
from flamepy.core.errors import connect_error
from flamepy.core.patience import reconnect_timeout as reconnect_timeout_of
from flamepy.core.requests import check_registered, closing_of, creation_of, opening_of, registration_of
from flamepy.core.types import Application, ApplicationAttributes, FlameError, FlameErrorCode, SessionAttributes
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

    from typing_extensions import Self

__all__ = ["Connection", "connect"]

_NOTHING = type(None)


def connect(uri: str | None = None, *, reconnect_timeout: float | None = None) -> Opening[Connection]:
    """Open a connection: ``async with`` closes it at the end of the block, who awaits it calls `Connection.close`.

    uri: as `hearth up` prints it. None for FLAME_ENDPOINT, else the endpoint in ~/.flame/flame.yaml, else an
    embedded instance that ends with this process: the one that `flamepy` uses. reconnect_timeout: as for
    `flamepy.connect`. Raises FlameError INVALID_CONFIG as that does.
    """
    return Opening(_connect(uri, reconnect_timeout))


async def _connect(uri: str | None, reconnect_timeout: float | None) -> Connection:
    if uri is None:
        addr, is_ours = await asyncio.to_thread(_endpoint)  # reads a file, or starts a process
        if is_ours:
            reconnect_timeout = 0  # once it is gone, everything in it is
    else:
        addr = uri
    check_address(addr)
    reconnect_s = reconnect_timeout_of(reconnect_timeout)
    try:
        return Connection(Link(addr, await open_stream(addr), reconnect_s))
    except OSError as error:
        raise connect_error(addr, error) from error


def _endpoint() -> tuple[str, bool]:
    """Where the instance is, and whether it is the embedded one."""
    configured = FlameContext().endpoint
    return (configured, False) if configured else (ConnectionInstance.instance().addr, True)


class Connection:
    """A connection to one instance, closed at the end of ``async with``. Made by `connect`. Attribute: addr.

    It is for one event loop, and for the process that made it: elsewhere everything raises FlameError
    INVALID_STATE. One that breaks is made anew, while what waits for answers goes on waiting; when that fails,
    what waits and all that is called later raises INTERNAL.
    """

    def __init__(self, link: Link) -> None:
        self.addr = link.addr
        self.link = link
        self._streams: weakref.WeakValueDictionary[str, ResultStream] = weakref.WeakValueDictionary()
        """By session, as long as somebody holds the session or waits for its results."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if not self.link.is_lost:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
            self.link.drop(OSError(errno.ESHUTDOWN, "the connection was left without being closed"))

    def __repr__(self) -> str:
        return f"<flamepy.aio.Connection {self.addr!r}{' lost' if self.link.is_lost else ''}>"

    # Applications

    async def register_application(self, name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
        """Register a recipe under a name. Raises as `flamepy.Connection.register_application` does."""
        request = registration_of(name, app_attrs)

        async def made_before() -> None:
            check_registered(request, await self.link.ask("flame.application.get", Name(name), ApplicationInfo))

        again = (FlameErrorCode.ALREADY_EXISTS, made_before)
        await self.link.ask("flame.application.register", request, _NOTHING, again)

    async def update_application(self, name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
        """Give an application other attributes, in place of all it had. Raises as `flamepy.Connection` does."""
        await self.link.ask("flame.application.update", registration_of(name, app_attrs), _NOTHING)

    async def unregister_application(self, name: str) -> None:
        """Remove an application and its closed sessions. Raises FlameError NOT_FOUND, INVALID_STATE while in use."""

        async def gone_before() -> None:
            pass

        again = (FlameErrorCode.NOT_FOUND, gone_before)
        await self.link.ask("flame.application.unregister", Name(name), _NOTHING, again)

    async def get_application(self, name: str) -> Application | None:
        """The application, or None if there is none of that name."""
        try:
            return application_of(await self.link.ask("flame.application.get", Name(name), ApplicationInfo))
        except FlameError as error:
            if error.code is FlameErrorCode.NOT_FOUND:
                return None
            raise

    async def list_applications(self) -> list[Application]:
        """Every application, by name."""
        listed = await self.link.ask("flame.application.list", None, ApplicationList)
        return [application_of(info) for info in listed.applications]

    # Sessions

    def create_session(self, attrs: SessionAttributes) -> Opening[Session]:
        """Make a session; without an id it gets one. ``async with`` closes it at the end of the block.

        Raises FlameError NOT_FOUND for an unknown application, ALREADY_EXISTS for an id in use,
        INVALID_ARGUMENT for anything out of bounds.
        """
        return Opening(self._create_session(attrs))

    async def _create_session(self, attrs: SessionAttributes) -> Session:
        request = creation_of(attrs)

        async def made_before() -> SessionInfo:
            return await self.link.ask("flame.session.open", request, SessionInfo)

        again = (FlameErrorCode.ALREADY_EXISTS, made_before)
        return self._session(await self.link.ask("flame.session.create", request, SessionInfo, again))

    def open_session(self, session_id: str, spec: SessionAttributes | None = None) -> Opening[Session]:
        """The open session of that id; with a spec it is made if there is none. To be awaited or entered, as above.

        Raises FlameError NOT_FOUND; INVALID_ARGUMENT if it is closed or was made with another spec.
        """
        return Opening(self._open_session(session_id, spec))

    async def _open_session(self, session_id: str, spec: SessionAttributes | None) -> Session:
        return self._session(await self.link.ask("flame.session.open", opening_of(session_id, spec), SessionInfo))

    async def get_session(self, session_id: str) -> Session:
        """The session as it is now, open or closed. Raises FlameError NOT_FOUND."""
        return self._session(await self.link.ask("flame.session.get", SessionRef(session_id), SessionInfo))

    async def list_sessions(self) -> list[Session]:
        """Every session, open and closed, oldest first."""
        listed = await self.link.ask("flame.session.list", None, SessionList)
        return [self._session(info) for info in listed.sessions]

    async def close_session(self, session_id: str, *, drain: bool = False, force: bool = False) -> Session:
        """Close a session; closing again is fine. drain, force: see `flamepy.Connection.close_session`.

        Raises FlameError NOT_FOUND; INVALID_STATE while a task runs, unless one is chosen; INVALID_ARGUMENT for both.
        """
        request = closing_of(session_id, drain=drain, force=force)
        session = self._session(await self.link.ask("flame.session.close", request, SessionInfo))
        self._forget_stream(session_id)
        return session

    async def delete_session(self, session_id: str) -> None:
        """Forget a closed session and its tasks; its id is free again. Raises FlameError NOT_FOUND, INVALID_STATE."""
        await self.link.ask("flame.session.delete", SessionRef(session_id), _NOTHING)
        self._forget_stream(session_id)

    def _forget_stream(self, session_id: str) -> None:
        stream = self._streams.pop(session_id, None)
        if stream is not None:
            stream.close()

    def _session(self, info: SessionInfo) -> Session:
        stream = self._streams.get(info.session)
        if stream is None or stream.has_ended:  # an id may come back after its application was unregistered
            stream = self._streams[info.session] = ResultStream(self.link, info.session)
        return Session(self, info, stream)

    # Nodes and executors

    async def list_nodes(self) -> list[Node]:
        """Every machine that runs executors."""
        return [node_of(info) for info in (await self.link.ask("flame.node.list", None, NodeList)).nodes]

    async def get_node(self, name: str) -> Node:
        """The node of that name. Raises FlameError NOT_FOUND."""
        return node_of(await self.link.ask("flame.node.get", Name(name), NodeInfo))

    async def list_executors(self) -> list[Executor]:
        """Every executor, of all sessions, oldest first."""
        listed = await self.link.ask("flame.executor.list", None, ExecutorList)
        return [executor_of(info) for info in listed.executors]

    # The connection itself

    async def drain(self) -> None:
        """Wait until the instance has taken what was submitted: for who calls `Session.run` in an endless loop."""
        await self.link.drain()

    async def close(self) -> None:
        """Send what was submitted, then end the connection; what still waits fails. Sessions stay as they are."""
        await self.link.close()
