# SPDX-License-Identifier: Apache-2.0
"""What every built-in service shares: a method table, access checks, decoding, one place that answers."""

from __future__ import annotations

import errno
import logging
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from flux.constants import FLUX_ROLE_ALL
from hearth.broker.credentials import OWNER_ONLY, USERS, ServiceError, require
from hearth.broker.payloads import JsonPayload, OptionalJson, Payload, UnreadJson, as_utf8, encode_json, no_payload
from hearth.broker.router import cut_text
from hearth.broker.rusage import resource_usage
from hearth.broker.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flux.packet import Packet
    from hearth.broker.router import Router

__all__ = ["LATER", "Service"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_UNKNOWN_METHOD_MAX = 255


class _Later:
    """The type of LATER."""


LATER: Final = _Later()
"""A method's result that means: answered by itself, now or some time."""


class _Method(NamedTuple):
    payload: Payload[Any]
    handler: Callable[[Packet, Any], object]
    allowed: int


class _Usage(msgspec.Struct):
    who: str = "self"


class _Debug(msgspec.Struct):
    op: Literal["setbit", "clrbit", "set", "clr"]
    flags: Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]


class Service:
    """A service inside the daemon. Subclasses add their methods in __init__.

    A handler takes the request and its decoded payload. What it returns is the one success response
    (None an empty one, LATER none yet); ServiceError is the one error response; anything else is our
    bug: logged, and answered with EIO.
    """

    def __init__(self, router: Router, name: str) -> None:
        self.router = router
        self.name = name
        self.uuid = str(uuid.uuid4())
        self._methods: dict[str, _Method] = {}
        self._debug_flags = 0
        self.add_method("ping", UnreadJson(), self._ping, USERS)
        self.add_method("stats-get", no_payload, self._traffic, FLUX_ROLE_ALL)
        self.add_method("stats-clear", no_payload, self._clear_traffic)
        self.add_method("rusage", OptionalJson(_Usage), self._usage, USERS)
        self.add_method("debug", JsonPayload(_Debug), self._debug)
        self.add_method("config-reload", JsonPayload(dict[str, Any]), self._reconfigure)
        router.builtin[name] = self

    def add_method(
        self,
        method: str,
        payload: Payload[_T],
        handler: Callable[[Packet, _T], object],
        allowed: int = OWNER_ONLY,
    ) -> None:
        """Serve ``<name>.<method>``; allowed is a mask of the roles that may ask besides the owner."""
        self._methods[f"{self.name}.{method}"] = _Method(payload, handler, allowed)

    def new_streams(self) -> Streams:
        """Streams of requests that end with their senders: the disconnect notice of the service drops them."""
        streams = Streams()
        self.add_method("disconnect", no_payload, lambda request, nothing: streams.drop(request), FLUX_ROLE_ALL)
        return streams

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Take what concerns the service from a configuration that was loaded; most have no settings.

        Raises ServiceError EINVAL, with nothing changed.
        """

    def handle(self, request: Packet) -> None:
        """Carry out one request and answer it."""
        method = self._methods.get(request.topic or "")
        if method is None:
            if not (request.topic or "").endswith(".disconnect"):
                text = cut_text(f"Unknown service method '{request.topic}'", _UNKNOWN_METHOD_MAX)
                self.router.respond_error(request, errno.ENOSYS, text)
            return
        try:
            require(request, method.allowed)
            result = method.handler(request, method.payload.decode(request))
            if result is not LATER:
                self.router.respond(request, None if result is None else encode_json(result))
        except ServiceError as error:
            self.router.respond_error(request, error.errnum, error.text)
        except Exception:
            # The one loop that must survive: a bug in a method is its caller's error, not everyone's end.
            log.exception("bug in %s, please report it", request.topic)
            self.router.respond_error(request, errno.EIO, f"internal error in {request.topic}; the log has it")

    def _ping(self, request: Packet, payload: dict[str, msgspec.Raw]) -> dict[str, Any]:
        """Echo the payload with the way it took: the sender, this broker, this service, 8 characters each.

        What is in the payload is not read: a guest's 14 MiB of long numbers would take seconds.
        """
        hops = [*reversed(request.routes or ()), self.router.uuid, self.uuid]
        return {
            **payload,
            "route": "!".join(as_utf8(hop[:8]) for hop in hops),
            "userid": request.userid,
            "rolemask": request.rolemask,
            "rank": 0,
        }

    def _traffic(self, request: Packet, nothing: None) -> dict[str, dict[str, int]]:
        """The broker's messages: none are counted by service, to carry each at no cost."""
        return self.router.traffic()

    def _clear_traffic(self, request: Packet, nothing: None) -> None:
        self.router.clear_traffic()

    def _usage(self, request: Packet, usage: _Usage) -> dict[str, float]:
        return resource_usage(usage.who)

    def _debug(self, request: Packet, wanted: _Debug) -> dict[str, int]:
        """Bits that a program may set, and look at, for each service; the services here look at none."""
        if wanted.op == "setbit":
            self._debug_flags |= wanted.flags
        elif wanted.op == "clrbit":
            self._debug_flags &= ~wanted.flags
        else:
            self._debug_flags = wanted.flags if wanted.op == "set" else 0
        return {"flags": self._debug_flags}

    def _reconfigure(self, request: Packet, configuration: dict[str, Any]) -> None:
        """A configuration for this service alone, until the next is loaded for all."""
        self.configure(configuration)
