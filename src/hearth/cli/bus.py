# SPDX-License-Identifier: Apache-2.0
"""The connection of a command to the message plane: ask a service, follow its stream, and errors for people."""

from __future__ import annotations

import contextlib
import errno
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from flux.constants import FLUX_RPC_STREAMING
from flux.core.handle import Flux
from hearth.cli.address import FLUX_FIRST, need_uri
from hearth.cli.output import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Bus", "Refused", "open_bus"]

_T = TypeVar("_T")
_LOST = (errno.ECONNRESET, errno.EPIPE)
_NO_TEXTS: Mapping[int, str] = MappingProxyType({})


class Refused(click.ClickException):
    """A service answered with an error. Attributes: errnum."""

    def __init__(self, errnum: int, message: str) -> None:
        super().__init__(message)
        self.errnum = errnum


class Bus:
    """One connection, of one command. handle: for what goes beyond asking; its errors belong into `explaining`."""

    def __init__(self, handle: Flux, uri: str) -> None:
        self.handle = handle
        self._uri = uri

    def ask(
        self,
        topic: str,
        payload: object,
        type_: type[_T],
        told: Mapping[int, str] = _NO_TEXTS,
        *,
        about: str | None = None,
    ) -> _T:
        """The answer to one request; an answer without payload is None. payload: None, or what JSON can say.

        told: what to say for an errno in place of the service's own text. about: what that text is about, in
        place of the topic. Raises Refused for an error of the
        service, ClickException when the connection is lost or the answer is of another type.
        """
        data = None if payload is None else msgspec.json.encode(payload)
        with self.explaining(about or topic, told):
            text = self.handle.rpc(topic, data).get_str()
        try:
            if text is None:
                return msgspec.convert(None, type_)
            return msgspec.json.decode(text.encode("utf-8", "surrogateescape"), type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise click.ClickException(
                f"{topic} was answered with something else than was expected: {error}"
            ) from error

    def stream(self, topic: str, payload: object) -> Iterator[bytes]:
        """Each answer to a streaming request, without its NUL, until the service ends it; raises as `ask` does."""
        with self.explaining(topic):
            rpc = self.handle.rpc(topic, msgspec.json.encode(payload), flags=FLUX_RPC_STREAMING)
        while True:
            try:
                with self.explaining(topic):
                    text = rpc.get_str()
            except Refused as end:
                if end.errnum == errno.ENODATA:
                    return
                raise
            yield (text or "").encode("utf-8", "surrogateescape")
            rpc.reset()

    @contextlib.contextmanager
    def explaining(self, topic: str, told: Mapping[int, str] = _NO_TEXTS) -> Iterator[None]:
        """Turn the OSErrors of calls of the handle into what `explain` says."""
        try:
            yield
        except OSError as error:
            raise self.explain(topic, error, told) from error

    def explain(self, topic: str, error: OSError, told: Mapping[int, str] = _NO_TEXTS) -> click.ClickException:
        """The exception for people: the connection is lost, or else the service refused; told: as for `ask`."""
        errnum = error.errno or errno.EIO
        if errnum in _LOST:
            return click.ClickException(f"connection to {self._uri} is lost: the instance hung up")
        return Refused(errnum, told.get(errnum) or f"{topic}: {one_line(error.strerror or os.strerror(errnum))}")


@contextlib.contextmanager
def open_bus(given: str | None) -> Iterator[Bus]:
    """A connection to the instance; given: as the option --uri. Raises ClickException if there is none."""
    uri = need_uri(given, FLUX_FIRST)
    try:
        handle = Flux(uri)
    except OSError as error:
        reason = error.strerror or error
        if isinstance(error, PermissionError):
            raise click.ClickException(
                f"the instance at {uri} is somebody else's ({reason}); start one of your own: hearth up"
            ) from error
        raise click.ClickException(f"no instance answers at {uri} ({reason}); start one: hearth up") from error
    with handle:
        yield Bus(handle, uri)
