# SPDX-License-Identifier: Apache-2.0
"""A request to a service, and the future of its answer."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

from flux.constants import (
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_NODEID_ANY,
    FLUX_NODEID_UPSTREAM,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
)
from flux.core.answers import Answers
from flux.core.future import Future
from flux.errors import named_error
from flux.util import payload_frame, payload_text, topic_text

if TYPE_CHECKING:
    from flux.core.messaging import Messaging

__all__ = ["RPC"]


class RPC(Future):
    """Sends the request at once; inside a reactor callback it leaves with the others of that turn.

    payload: see `flux.util.encode_payload`. flags: FLUX_RPC_NORESPONSE or FLUX_RPC_STREAMING. With
    STREAMING each answer is a result of its own, and an error ends the stream, ENODATA the good one:
    ``while True: use(rpc.get()); rpc.reset()``. Raises OSError (EINVAL) for other flags, OverflowError for
    a nodeid out of range, BrokenPipeError when the connection is lost.
    """

    __slots__ = ()

    def __init__(
        self,
        flux_handle: Messaging,
        topic: str | bytes,
        payload: Any = None,
        nodeid: int = FLUX_NODEID_ANY,
        flags: int = 0,
    ) -> None:
        if flags & ~(FLUX_RPC_NORESPONSE | FLUX_RPC_STREAMING):
            raise named_error(errno.EINVAL)
        if not 0 <= nodeid <= FLUX_NODEID_ANY:
            raise OverflowError(f"nodeid {nodeid} is not in the range 0 to {FLUX_NODEID_ANY}")
        message_flags = 0
        if nodeid == FLUX_NODEID_UPSTREAM:
            nodeid = int(RPC(flux_handle, "attr.get", {"name": "rank"}).get()["value"])
            message_flags = FLUX_MSGFLAG_UPSTREAM
        answers = Answers()
        asked: Answers | None = answers
        if flags & FLUX_RPC_NORESPONSE:
            answers.on_lost(named_error(errno.EINVAL))
            asked = None
        elif flags & FLUX_RPC_STREAMING:
            message_flags |= FLUX_MSGFLAG_STREAMING
        session, answers.tag = flux_handle.link.request(
            topic_text(topic),
            payload_frame(payload),
            asked,
            nodeid,
            message_flags,
            at_once=flux_handle.writes_at_once(),
        )
        self._share(flux_handle, session, answers)

    def get(self) -> Any:
        """Wait for the answer and return its JSON, None without payload; raises as Future.get does.

        Also raises JSONDecodeError when the payload is no JSON and OSError (EPROTO) when it does not
        end in a NUL.
        """
        text = self.get_str()
        return None if text is None else json.loads(text)

    def get_str(self) -> str | None:
        """Wait for the answer and return its text up to the first NUL; raises as `get` does."""
        return payload_text(self._result().payload)
