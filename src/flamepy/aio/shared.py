# SPDX-License-Identifier: Apache-2.0
"""The module-level helpers, on one connection for each event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flamepy.aio.connection import Connection, connect
from flamepy.aio.opening import Opening
from flamepy.core.types import Application, ApplicationAttributes, ResourceRequirement, SessionAttributes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from flamepy.aio.session import Session
    from flamepy.core.cluster import Executor, Node

__all__ = [
    "close_session",
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
    "shared_connection",
    "unregister_application",
    "update_application",
]


class _Shared:
    """The connection of one loop, and what ends it with the loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._life: AsyncGenerator[Connection, None] | None = None

    async def connection(self) -> Connection:
        """The connection, made at the first call, and anew when it is lost."""
        async with self._lock:
            if self._connection is None or self._connection.link.is_lost:
                self._life = _life_of_a_connection()
                self._connection = await anext(self._life)
            return self._connection


async def _life_of_a_connection() -> AsyncGenerator[Connection, None]:
    """Before a loop ends, `asyncio.run` closes the generators begun on it, and this one the connection."""
    async with connect() as connection:
        yield connection


_of_loops: dict[asyncio.AbstractEventLoop, _Shared] = {}


async def shared_connection() -> Connection:
    """The connection that the helpers of this loop share, made at the first call as ``connect()`` does.

    One that is lost is replaced. `asyncio.run` closes it in the end.
    """
    for loop in [loop for loop in list(_of_loops) if loop.is_closed()]:
        _of_loops.pop(loop, None)
    return await _of_loops.setdefault(asyncio.get_running_loop(), _Shared()).connection()


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
) -> Opening[Session]:
    """Make a session on the shared connection: ``await`` it, or ``async with`` it to have it closed.

    The parameters are those of `flamepy.create_session`; see `Connection.create_session`.
    """
    attributes = SessionAttributes(
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
    return Opening(_create_session(attributes))


async def _create_session(attributes: SessionAttributes) -> Session:
    return await (await shared_connection()).create_session(attributes)


def open_session(session_id: str, spec: SessionAttributes | None = None) -> Opening[Session]:
    """See `Connection.open_session`."""
    return Opening(_open_session(session_id, spec))


async def _open_session(session_id: str, spec: SessionAttributes | None) -> Session:
    return await (await shared_connection()).open_session(session_id, spec)


async def get_session(session_id: str) -> Session:
    """See `Connection.get_session`."""
    return await (await shared_connection()).get_session(session_id)


async def list_sessions() -> list[Session]:
    """See `Connection.list_sessions`."""
    return await (await shared_connection()).list_sessions()


async def close_session(session_id: str, *, drain: bool = False, force: bool = False) -> Session:
    """See `Connection.close_session`."""
    return await (await shared_connection()).close_session(session_id, drain=drain, force=force)


async def delete_session(session_id: str) -> None:
    """See `Connection.delete_session`."""
    await (await shared_connection()).delete_session(session_id)


async def register_application(name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
    """See `Connection.register_application`."""
    await (await shared_connection()).register_application(name, app_attrs)


async def update_application(name: str, app_attrs: ApplicationAttributes | Mapping[str, Any]) -> None:
    """See `Connection.update_application`."""
    await (await shared_connection()).update_application(name, app_attrs)


async def unregister_application(name: str) -> None:
    """See `Connection.unregister_application`."""
    await (await shared_connection()).unregister_application(name)


async def get_application(name: str) -> Application | None:
    """See `Connection.get_application`."""
    return await (await shared_connection()).get_application(name)


async def list_applications() -> list[Application]:
    """See `Connection.list_applications`."""
    return await (await shared_connection()).list_applications()


async def list_nodes() -> list[Node]:
    """See `Connection.list_nodes`."""
    return await (await shared_connection()).list_nodes()


async def get_node(name: str) -> Node:
    """See `Connection.get_node`."""
    return await (await shared_connection()).get_node(name)


async def list_executors() -> list[Executor]:
    """See `Connection.list_executors`."""
    return await (await shared_connection()).list_executors()
