# SPDX-License-Identifier: Apache-2.0
"""A service: methods that are called for requests, and whose results are the answers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from flux.aio.request import Request
from flux.constants import FLUX_ROLE_OWNER
from flux.errors import named_error
from flux.util import payload_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from typing_extensions import Self

    from flux.aio.connection import Connection
    from flux.aio.link import Link
    from flux.packet import Packet

__all__ = ["UNANSWERED_MAX", "Service", "register", "unregister"]

log = logging.getLogger(__name__)

UNANSWERED_MAX = 65_536
"""Requests whose methods run, for one service; those beyond are answered with EAGAIN."""

_CANCEL = "cancel"
_DISCONNECT = "disconnect"

Handler = TypeVar("Handler", bound="Callable[[Request], Any]")


class _Method(NamedTuple):
    function: Callable[[Request], Any]
    rolemask: int
    is_async: bool
    is_stream: bool


class Service:
    """Made by `Flux.service`; requests whose topic begins with ``name.`` come here while it is open.

    A method is a plain function, a coroutine function, or an async generator function whose items are
    the answers to a streaming request. It takes the request; its result is the answer, and its exception
    the error: errno and text of an OSError, else EIO. Plain functions are called at once, in the order of
    the requests, and cost least; the others run as tasks, which are cancelled when the sender leaves,
    when it asks so (``name.cancel`` or ``name.method-cancel`` with its matchtag), and at the end.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection
        self._methods: dict[str, _Method] = {}
        self._running: dict[Request, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] | None = None
        self._error = named_error(errno.EINVAL)

    def method(self, name: str, *, rolemask: int = FLUX_ROLE_OWNER) -> Callable[[Handler], Handler]:
        """Decorator: have requests for ``service.name`` answered by this function.

        rolemask: the roles that may call it; the owner may call all. Others are refused with EPERM.
        """

        def add(function: Handler) -> Handler:
            called = (function, type(function).__call__)
            is_stream = any(map(inspect.isasyncgenfunction, called))
            is_async = is_stream or any(map(inspect.iscoroutinefunction, called))
            self._methods[f"{self.name}.{name}"] = _Method(function, rolemask | FLUX_ROLE_OWNER, is_async, is_stream)
            return function

        return add

    async def __aenter__(self) -> Self:
        await register(self._connection, self.name, self)
        self._ended = asyncio.get_running_loop().create_future()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection.services.get(self.name) is self:
            del self._connection.services[self.name]
            self._connection.restoring.unregistered(self.name)
            self._connection.tell("service.remove", {"service": self.name})
        text = f"service {self.name} has ended"
        self._stop(self._running, errno.ECANCELED, text)
        self.end(OSError(errno.EINVAL, text))
        stopping = self._stopping - {asyncio.current_task()}
        if stopping:
            await asyncio.wait(stopping)

    async def serve_forever(self) -> None:
        """Wait until the connection is lost for good, and raise why."""
        if self._ended is None:
            raise OSError(errno.EINVAL, f"service {self.name} is not open: use it in an `async with` block")
        await asyncio.shield(self._ended)
        raise OSError(self._error.errno, self._error.strerror) from self._error

    # What the connection calls

    def take(self, link: Link, packet: Packet) -> None:
        """Answer a request, or begin to."""
        request = Request(link, packet)
        method = self._methods.get(packet.topic or "")
        if method is None:
            self._take_other(request)
        elif not packet.rolemask & method.rolemask:
            request.refuse(errno.EPERM, _refusal(method.rolemask))
        elif method.is_async:
            self._start(method, request)
        else:
            try:
                request.finish(method.function(request))
            except Exception as error:
                _fail(request, error)

    def cut(self) -> None:
        """The link of all requests taken so far is gone, their answers have nowhere to go."""
        self._stop(self._running, errno.ECONNRESET)

    def end(self, error: OSError) -> None:
        """The connection is gone for good."""
        self._error = error
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # Methods that run as tasks

    def _start(self, method: _Method, request: Request) -> None:
        if len(self._running) >= UNANSWERED_MAX:
            request.refuse(
                errno.EAGAIN, f"service {self.name} has {UNANSWERED_MAX} requests to answer; ask again later"
            )
            return
        task = _new_task(self._run(method, request))
        if not task.done():
            self._running[request] = task

    async def _run(self, method: _Method, request: Request) -> None:
        try:
            if method.is_stream:
                await _stream(method, request)
            else:
                request.finish(await method.function(request))
        except asyncio.CancelledError:
            request.refuse(errno.ECANCELED)
            raise
        except Exception as error:
            _fail(request, error)
        finally:
            self._running.pop(request, None)

    def _take_other(self, request: Request) -> None:
        """A request for no method: a sender that leaves or gives up, or one that is mistaken."""
        topic = request.packet.topic or ""
        method = topic.rpartition(".")[2]
        if method == _DISCONNECT:
            self._stop(filter(request.is_of_same_sender, self._running), errno.ECONNRESET)
        elif method == _CANCEL or method.endswith(f"-{_CANCEL}"):
            self._cancel(request)
        else:
            request.refuse(errno.ENOSYS, f"Unknown service method '{topic}'")

    def _cancel(self, request: Request) -> None:
        try:
            tag = request.payload["matchtag"]
        except (OSError, TypeError, KeyError) as error:
            request.refuse(errno.EPROTO, f"{request.topic}: want a matchtag: {error!r}")
            return
        named = (other for other in self._running if other.packet.aux2 == tag and other.is_streaming)
        self._stop(filter(request.is_of_same_sender, named), errno.ENODATA)

    def _stop(self, requests: Iterable[Request], errnum: int, text: str | None = None) -> None:
        """End requests with an error, and the tasks that work on them."""
        for request in list(requests):
            request.refuse(errnum, text)
            task = self._running.pop(request)
            task.cancel()
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)


async def register(connection: Connection, name: str, service: Service | None) -> None:
    """Have requests sent to a service, or to `recv` for None; also after a reconnect."""
    if name in connection.services:
        raise FileExistsError(errno.EEXIST, f"service {name} is already registered by this handle")
    call = connection.request("service.add", payload_frame({"service": name}))
    connection.services[name] = service
    try:
        await call
    except BaseException:
        del connection.services[name]
        if call.has_effect:
            connection.tell("service.remove", {"service": name})
        raise
    connection.restoring.registered(name)


async def unregister(connection: Connection, name: str) -> None:
    """Undo `register`. Raises FileNotFoundError when it was not done here."""
    call = connection.request("service.remove", payload_frame({"service": name}))
    await call
    connection.services.pop(name, None)
    connection.restoring.unregistered(name)


async def _stream(method: _Method, request: Request) -> None:
    if not request.is_streaming:
        request.refuse(
            errno.EPROTO, f"{request.topic} is answered by a stream: send the request with FLUX_RPC_STREAMING"
        )
        return
    async with contextlib.aclosing(method.function(request)) as answers:
        async for answer in answers:
            await request.respond(answer)
    request.refuse(errno.ENODATA)


def _fail(request: Request, error: Exception) -> None:
    """Answer with the exception; one that is no OSError is a fault of the service, so it is logged as well."""
    if not isinstance(error, OSError):
        log.error("%s failed", request.topic, exc_info=error)
    request.fail(error)


def _refusal(rolemask: int) -> str:
    if rolemask == FLUX_ROLE_OWNER:
        return "Request requires owner credentials"
    return "Request rejected due to insufficient privilege"


def _new_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task; where Python can, it has run up to its first wait already, and is done if there was none."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)
