# SPDX-License-Identifier: Apache-2.0
"""The future of one answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from flux.aio.forms import checked_json_of, reader_of
from flux.results import error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from flux.aio.forms import Form
    from flux.packet import Packet
    from flux.session import Session

__all__ = ["Call"]


class Call(asyncio.Future[Any]):
    """Done when the answer is there: its JSON, None without payload. To cancel it gives the request up.

    Raises OSError with the errnum and text of an error response, EPROTO for an answer that is no JSON,
    ConnectionResetError when the connection was lost.
    """

    _read: Callable[[Packet], Any] = staticmethod(checked_json_of)
    _session: Session | None = None
    _tag = 0

    @classmethod
    def of_form(cls, form: Form) -> Self:
        """A call whose answer has another form."""
        call = cls()
        call._read = reader_of(form)
        return call

    def sent(self, session: Session, tag: int) -> None:
        """It went out as this request."""
        self._session, self._tag = session, tag

    @property
    def has_effect(self) -> bool:
        """Whether what was asked for has been done, or may be although it was given up."""
        return self.cancelled() or (self.done() and self.exception() is None)

    def on_response(self, response: Packet) -> None:
        """Take the answer."""
        if self.done():
            return
        error = error_of(response)
        if error is not None:
            self.set_exception(error)
            return
        try:
            result = self._read(response)
        except OSError as wrong:
            self.set_exception(wrong)
        else:
            self.set_result(result)

    def on_lost(self, error: OSError) -> None:
        """Take the end of the connection for an answer."""
        if not self.done():
            self.set_exception(OSError(error.errno, error.strerror))

    def cancel(self, msg: Any = None) -> bool:
        """Give the request up; its tag is reused after its answer."""
        if not super().cancel(msg):
            return False
        if self._session is not None:
            self._session.abandon(self._tag)
        return True
