# SPDX-License-Identifier: Apache-2.0
"""A future whose result is work of one's own, begun when somebody first asks for it."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_MSGTYPE_RESPONSE
from flux.core.answers import Answers
from flux.core.calls import FutureCalls
from flux.core.future import Future
from flux.core.reactor import Reactor
from flux.errors import named_error
from flux.packet import Packet
from flux.util import payload_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from flux.core.handle import Flux

__all__ = ["FutureExt"]


class FutureExt(Future):
    """Calls init_cb(future, *args, **kwargs) to begin, once for `then` and once for a blocking `get` or `wait_for`.

    init_cb, or what it starts with the handle of ``future.get_flux()``, calls `fulfill` or `fulfill_error`,
    any number of times: results queue up. A blocking wait calls the callbacks of what init_cb started and
    none of those set up before, nor any message watcher; the reactor calls them all.
    """

    __slots__ = ("_aside", "_has_begun", "_init")

    def __init__(
        self, init_cb: Callable[..., object], *args: Any, flux_handle: Flux | None = None, **kwargs: Any
    ) -> None:
        self._share(flux_handle, None, Answers())
        self._init = (init_cb, args, kwargs)
        self._has_begun = False
        self._aside: tuple[Reactor, FutureCalls | None] | None = None

    def __del__(self) -> None:
        super().__del__()
        aside = getattr(self, "_aside", None)
        if aside is not None:
            (aside[1] or aside[0]).close()

    def fulfill(self, result: Any = None) -> None:
        """Have a result, any value that JSON can say (else TypeError); `get` returns it as JSON gives it back."""
        text = json.dumps(result, ensure_ascii=False).encode("utf-8", "surrogatepass")
        with self._lock():
            self._answers.add(Packet(FLUX_MSGTYPE_RESPONSE, payload=text + b"\0"))

    def fulfill_error(self, errnum: int = errno.ENOENT, errstr: str | None = None) -> None:
        """Have an error as the next result; errstr: in place of errnum's own text."""
        with self._lock():
            self._answers.add(OSError(errnum, errstr or os.strerror(errnum)))

    def get(self) -> Any:
        """Wait for the result and return it.

        Raises OSError: the one given to `fulfill_error`, EDEADLK when nothing is going on that could bring a
        result; and whatever init_cb or a callback that it set up raises.
        """
        text = payload_text(self._result().payload)
        return None if text is None else json.loads(text)

    def call_back(self) -> None:
        """Call the callback; unless it has reset the future, it is not called for later results."""
        then = self._then
        super().call_back()
        if then is not None and self._then is then and self._answers.results and not then.calls_due:
            self.stop()

    def _is_pending(self) -> bool:
        return False  # what init_cb started keeps the reactor going by itself

    def _call_init(self) -> None:
        init_cb, args, kwargs = self._init
        init_cb(self, *args, **kwargs)

    def _begin(self) -> None:
        if self._has_begun or self._answers.results:
            return
        self._has_begun = True
        try:
            self._call_init()
        except Exception as error:
            self._raise_from_reactor(error)

    def _raise_from_reactor(self, error: Exception) -> None:
        reactor = self.get_reactor()
        reactor.hold()

        def fail() -> None:
            reactor.release()
            self.stop()
            raise error

        reactor.post(fail)

    # Waiting: a reactor for what init_cb starts, so that nothing else runs

    def _wait(self, deadline: float | None) -> None:
        if self._answers.is_finished:
            raise named_error(errno.EDEADLK)
        has_begun = self._aside is not None
        if self._aside is None:
            calls = None if self._handle is None else FutureCalls(self._handle.link)
            self._aside = (Reactor() if calls is None else calls.reactor, calls)
        reactor, calls = self._aside
        if self._handle is None or calls is None:
            self._wait_aside(reactor, deadline, has_begun=has_begun)
            return
        with self._handle.calling_aside(calls):
            self._wait_aside(reactor, deadline, has_begun=has_begun)

    def _wait_aside(self, reactor: Reactor, deadline: float | None, *, has_begun: bool) -> None:
        if not has_begun:
            self._call_init()
        if not self._answers.results:
            self._run(reactor, deadline)
        if not self._answers.results:
            raise named_error(errno.EDEADLK if deadline is None else errno.ETIMEDOUT)

    def _run(self, reactor: Reactor, deadline: float | None) -> None:
        """Turn until there is a result, nothing is left that could bring one, or it is too late."""
        with self._lock():
            self._answers.listeners += (reactor.stop,)
        limit = None if deadline is None else reactor.call_at(deadline, reactor.stop)
        reactor.hold(limit is not None)
        try:
            reactor.run()
        finally:
            reactor.release(limit is not None)
            if limit is not None:
                limit.cancel()
            with self._lock():
                self._answers.stop_telling(reactor.stop)
