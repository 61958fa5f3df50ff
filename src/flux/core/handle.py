# SPDX-License-Identifier: Apache-2.0
"""The handle: one connection to an instance, and all that is done over it."""

from __future__ import annotations

import errno
import functools
import os
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flux import connector
from flux.connectors.trace import TracedStream
from flux.constants import (
    FLUX_MATCHTAG_NONE,
    FLUX_MSGTYPE_ANY,
    FLUX_O_CLONE,
    FLUX_O_MATCHDEBUG,
    FLUX_O_NONBLOCK,
    FLUX_O_NOREQUEUE,
    FLUX_O_RPCTRACK,
    FLUX_O_TEST_NOSUB,
    FLUX_O_TRACE,
    FLUX_POLLERR,
    FLUX_POLLIN,
    FLUX_POLLOUT,
)
from flux.core.ancestors import resolve
from flux.core.c_names import CNames
from flux.core.events import EventMethods
from flux.core.link import Link
from flux.core.message_watcher import MessageWatcher
from flux.core.periodic import PeriodicWatcher
from flux.core.reacting import ReactorMethods
from flux.core.reconnecting import TRY_FOR_S, Reconnecting
from flux.core.services import ServiceMethods
from flux.core.watchers import (
    CheckWatcher,
    FDWatcher,
    IdleWatcher,
    PrepareWatcher,
    SignalWatcher,
    TimerWatcher,
)
from flux.errors import InvalidArguments, named_error
from flux.impersonation import encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self


__all__ = ["Flux"]

_KNOWN_FLAGS = (
    FLUX_O_TRACE
    | FLUX_O_CLONE
    | FLUX_O_NONBLOCK
    | FLUX_O_MATCHDEBUG
    | FLUX_O_TEST_NOSUB
    | FLUX_O_RPCTRACK
    | FLUX_O_NOREQUEUE
)


class Flux(EventMethods, ServiceMethods, ReactorMethods, CNames):
    """A connection to an instance: messages, requests, events, and the reactor that calls back.

    url: ``local://PATH``, ``fd://N`` or ``loop://``; None for FLUX_URI or the system instance; ``.``, ``..``,
    ``../..`` or ``/`` for the enclosing instances. Raises OSError as `flux.connector.open_transport` does.
    flags: of FLUX_O_*, NONBLOCK, TEST_NOSUB and TRACE have an effect; FLUX_HANDLE_TRACE in the environment
    traces too, which prints each message to stderr. FLUX_HANDLE_USERID and FLUX_HANDLE_ROLEMASK: see
    `flux.impersonation`.

    reconnect: True to connect anew when the connection is lost, for a minute, or a number of seconds; see
    docs/flux.md for what is restored. Raises OSError (ENOTSUP) with ``fd://``.

    The connection closes when the last reference to the handle is gone, or at the end of a ``with``
    block, after which the handle raises OSError (EINVAL). All threads of the process that opened it may
    use a handle at the same time; its reactor and watchers belong to the thread that runs the reactor.
    """

    def __init__(
        self, url: str | bytes | None = None, flags: int = 0, handle: None = None, *, reconnect: bool | float = False
    ) -> None:
        if handle is not None:
            raise InvalidArguments("handle: there is no C handle to wrap; give a url")
        if flags & ~_KNOWN_FLAGS:
            raise connector.connect_error(errno.EINVAL, "invalid flags specified")
        self._url = resolve(url, Flux)
        encode = encoder(os.environ)
        connect = functools.partial(_open, self._url, flags)
        transport = connect()
        reconnecting = None
        if reconnect:
            if not transport.is_repeatable:
                transport.stream.close()
                raise named_error(errno.ENOTSUP)
            try_for_s = TRY_FOR_S if reconnect is True else float(reconnect)
            reconnecting = Reconnecting(lambda: connect(timeout_s=try_for_s).stream, try_for_s)
        super().__init__(Link(transport.stream, reconnecting, encode), flags)
        if reconnecting is not None:
            reconnecting.on_refused = functools.partial(_raise_from_reactor, weakref.ref(self))
        self._attributes.update(transport.attributes)
        self._is_repeatable = transport.is_repeatable

    def reconnect(self) -> int:
        """Connect anew, under a new identity; returns 0.

        Requests in flight fail with ECONNRESET; subscriptions and services are the caller's to restore.
        Raises OSError, and leaves the handle as it is, when the instance does not answer; ENOTSUP for
        ``fd://``, whose socket somebody else has connected.
        """
        self.link.check_usable()
        if not self._is_repeatable:
            raise named_error(errno.ENOTSUP)
        self.link.check_usable()
        self.link.reopen(_open(self._url, self.flags).stream)
        return 0

    def close(self) -> None:
        """Raises RuntimeError: the connection closes with the handle's last reference or ``with`` block."""
        raise RuntimeError("a handle is closed by dropping it, or at the end of a with block")

    def incref(self) -> None:
        """Does nothing: Python counts the references."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def __del__(self) -> None:
        if hasattr(self, "link"):
            self._release()

    def _release(self) -> None:
        self.link.close()
        if self._dispatcher is not None:
            self._dispatcher.close()

    def timer_watcher_create(
        self, after: float | str, callback: Callable[..., object], repeat: float | str = 0.0, args: Any = None
    ) -> TimerWatcher:
        """See TimerWatcher."""
        return TimerWatcher(self, after, callback, repeat=repeat, args=args)

    def periodic_watcher_create(
        self, offset: float, interval: float, callback: Callable[..., object], args: Any = None
    ) -> PeriodicWatcher:
        """See PeriodicWatcher."""
        return PeriodicWatcher(self, offset, interval, callback, args)

    def fd_watcher_create(
        self,
        fd_int: int,
        callback: Callable[..., object],
        events: int = FLUX_POLLIN | FLUX_POLLOUT | FLUX_POLLERR,
        args: Any = None,
    ) -> FDWatcher:
        """See FDWatcher."""
        return FDWatcher(self, fd_int, events, callback, args=args)

    def signal_watcher_create(self, signum: int, callback: Callable[..., object], args: Any = None) -> SignalWatcher:
        """See SignalWatcher."""
        return SignalWatcher(self, signum, callback, args=args)

    def msg_watcher_create(
        self,
        callback: Callable[..., object],
        type_mask: int = FLUX_MSGTYPE_ANY,
        topic_glob: str | bytes = "*",
        args: Any = None,
        match_tag: int = FLUX_MATCHTAG_NONE,
        rolemask: int | None = None,
    ) -> MessageWatcher:
        """See MessageWatcher."""
        return MessageWatcher(self, type_mask, callback, topic_glob, match_tag, rolemask, args)

    def prepare_watcher_create(self, callback: Callable[..., object], args: Any = None) -> PrepareWatcher:
        """See PrepareWatcher."""
        return PrepareWatcher(self, callback, args)

    def check_watcher_create(self, callback: Callable[..., object], args: Any = None) -> CheckWatcher:
        """See CheckWatcher."""
        return CheckWatcher(self, callback, args)

    def idle_watcher_create(self, callback: Callable[..., object] | None, args: Any = None) -> IdleWatcher:
        """See IdleWatcher."""
        return IdleWatcher(self, callback, args)


def _raise_from_reactor(handle: weakref.ref[Flux], error: OSError) -> None:
    """Have the handle's `reactor_run` raise it."""
    alive = handle()
    if alive is not None:

        def fail() -> None:
            raise error

        alive.dispatcher.reactor.post(fail)


def _open(url: str, flags: int, timeout_s: float | None = None) -> connector.Transport:
    is_traced = flags & FLUX_O_TRACE or "FLUX_HANDLE_TRACE" in os.environ
    transport = connector.open_transport(url, timeout_s)
    return replace(transport, stream=TracedStream(transport.stream)) if is_traced else transport
