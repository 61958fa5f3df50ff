# SPDX-License-Identifier: Apache-2.0
"""The short way through the router: a message that only passes through is not taken apart. Pure.

A request to a client's service gets the sender's address put in front, a response loses the address
it is sent to, an event gets its sequence number; each has its credentials written over where they
stand. All other bytes are copied as they came. Whatever is not of the usual shape, or needs more
thought, takes the long way through `Router.receive`, which alone judges. Both ways send equal bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_PAYLOAD,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGFLAG_ROUTE,
    FLUX_MSGFLAG_TOPIC,
    FLUX_MSGFLAG_UPSTREAM,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
)
from flux.packet import FRAME_LENGTH, HEADER, PROTO_MAGIC, STREAM_MAGIC

if TYPE_CHECKING:
    from flux.packet import Buffer
    from hearth.broker.router import Port, Router

__all__ = ["Passage"]

_PROTO = struct.Struct(">HBBQI")  # of the PROTO frame: up to aux1, userid and rolemask in one
_PROTO_FRAME = 21
_CREDENTIALS, _AUX = 5, 13  # where they stand in it
_PAIR = struct.Struct(">II")  # userid and rolemask, or aux1 and aux2
_NOBODY = 0xFFFFFFFF << 32  # userid unknown, no role: what clients send
_SHAPE = FLUX_MSGFLAG_ROUTE | FLUX_MSGFLAG_TOPIC | FLUX_MSGFLAG_UPSTREAM | FLUX_MSGFLAG_PRIVATE
_USUAL_SHAPE = FLUX_MSGFLAG_ROUTE | FLUX_MSGFLAG_TOPIC
_ADDRESS = 36  # the length of a UUID's text
_LONG = 255  # the first byte of a frame that has its length in the next four


class Passage:
    """One connection's short way. Made for its port, which it does not outlive."""

    def __init__(self, router: Router, port: Port) -> None:
        self._router = router
        self._port = port
        self._is_owner = port.credentials.is_owner
        self._stamp = _PAIR.pack(*port.credentials)
        self._address = _frame(port.uuid)
        self._event_front = _frame(router.uuid) + self._address

    def send_on(self, body: Buffer, start: int, end: int) -> bool:
        """Send a message on, body[start:end]. False, with nothing done, if it has to take the long way."""
        last = end - _PROTO_FRAME
        if last < start + 2 or body[last] != _PROTO_FRAME - 1:
            return False
        magic, kind, flags, sender, aux1 = _PROTO.unpack_from(body, last + 1)
        if magic != PROTO_MAGIC or flags & _SHAPE != _USUAL_SHAPE or (sender != _NOBODY and self._is_owner):
            return False
        if kind == FLUX_MSGTYPE_RESPONSE:
            return self._is_owner and self._response(body, start, end, flags)
        if body[start]:
            return False
        if kind == FLUX_MSGTYPE_REQUEST:
            return aux1 == FLUX_NODEID_ANY and self._request(body, start, end, flags)
        return kind == FLUX_MSGTYPE_EVENT and self._event(body, start, end, flags)

    def _request(self, body: Buffer, start: int, end: int, flags: int) -> bool:
        topic_end = start + 2 + body[start + 1]
        topic = bytes(body[start + 2 : topic_end])
        router, port = self._router, self._port
        to = router.ways.get(topic)
        if to is None or not (topic in port.seen or flags & FLUX_MSGFLAG_NORESPONSE):
            return False
        last = end - _PROTO_FRAME
        if not _ends_at(last, body, topic_end, flags):
            return False
        header = HEADER.pack(STREAM_MAGIC, len(self._address) + end - start)
        credentials, aux = last + _CREDENTIALS, last + _AUX
        to.send(b"".join((header, self._address, body[start:credentials], self._stamp, body[aux:end])))
        router.received[FLUX_MSGTYPE_REQUEST] += 1
        router.sent[FLUX_MSGTYPE_REQUEST] += 1
        if to.is_congested:
            port.wait_for(to)
        return True

    def _response(self, body: Buffer, start: int, end: int, flags: int) -> bool:
        last, rest = end - _PROTO_FRAME, start + 1 + _ADDRESS
        if rest + 1 >= last or body[start] != _ADDRESS or body[rest] or body[rest + 1] == _LONG:
            return False
        router = self._router
        to = router.ports.get(str(body[start + 1 : rest], "utf-8", "surrogateescape"))
        if to is None or not _ends_at(last, body, rest + 2 + body[rest + 1], flags):
            return False
        header = HEADER.pack(STREAM_MAGIC, end - rest)
        credentials, aux = last + _CREDENTIALS, last + _AUX
        to.send(b"".join((header, body[rest:credentials], self._stamp, body[aux:end])))
        router.received[FLUX_MSGTYPE_RESPONSE] += 1
        router.sent[FLUX_MSGTYPE_RESPONSE] += 1
        return True

    def _event(self, body: Buffer, start: int, end: int, flags: int) -> bool:
        last, size = end - _PROTO_FRAME, body[start + 1]
        topic_end = start + 2 + size
        if size == _LONG or not _ends_at(last, body, topic_end, flags):
            return False
        topic = str(body[start + 2 : topic_end], "utf-8", "surrogateescape")
        if "\0" in topic:
            return False
        router = self._router
        sequence = router.next_sequence()
        router.received[FLUX_MSGTYPE_EVENT] += 1
        subscribers = router.subscriptions.matching(topic)
        if subscribers:
            header = HEADER.pack(STREAM_MAGIC, len(self._event_front) + end - start)
            front = body[start : last + _CREDENTIALS]
            event = b"".join((header, self._event_front, front, self._stamp, _PAIR.pack(sequence, 0)))
            router.sent[FLUX_MSGTYPE_EVENT] += len(subscribers)
            for port in subscribers:
                port.send(event)
        return True


def _frame(address: str) -> bytes:
    return bytes([len(address)]) + address.encode()


def _ends_at(last: int, body: Buffer, at: int, flags: int) -> bool:
    """Whether the payload's frame, if the flags promise one, is all there is between `at` and `last`."""
    if flags & FLUX_MSGFLAG_PAYLOAD:
        if at >= last:
            return False
        size = body[at]
        at += 1
        if size == _LONG:
            if at + 4 > last:
                return False
            size = FRAME_LENGTH.unpack_from(body, at)[0]
            if size < _LONG:
                return False
            at += 4
        at += size
    return at == last
