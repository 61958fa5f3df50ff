# SPDX-License-Identifier: Apache-2.0
"""`flamepy` for asyncio: the same sessions, tasks and errors, and what waits is awaited.

Loaded by ``import flamepy.aio`` only::

    async with flamepy.aio.create_session("flmping") as session:
        print(await session.invoke(b"hello"))
"""

from flamepy.aio.connection import Connection, connect
from flamepy.aio.session import Session
from flamepy.aio.shared import (
    close_session,
    create_session,
    delete_session,
    get_application,
    get_node,
    get_session,
    list_applications,
    list_executors,
    list_nodes,
    list_sessions,
    open_session,
    register_application,
    shared_connection,
    unregister_application,
    update_application,
)

__all__ = [
    "Connection",
    "Session",
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
    "shared_connection",
    "unregister_application",
    "update_application",
]
