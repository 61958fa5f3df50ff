# SPDX-License-Identifier: Apache-2.0
"""Messages for people: the fields of a packet with every access checked, and the codec's public names."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any, Final, overload

from flux import packet as wire
from flux.constants import (
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_PAYLOAD,
    FLUX_MSGFLAG_ROUTE,
    FLUX_MSGFLAG_STREAMING,
    FLUX_MSGFLAG_TOPIC,
    FLUX_MSGTYPE_ANY,
    FLUX_MSGTYPE_CONTROL,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_NODEID_ANY,
    FLUX_NODEID_UPSTREAM,
)
from flux.core.message_watcher import MessageWatcher
from flux.errors import InvalidArguments, named_error
from flux.packet import Decoder, Packet, ProtocolError
from flux.util import payload_frame, payload_text, topic_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Decoder", "Message", "MessageWatcher", "Packet", "ProtocolError", "msg_typestr", "packet_of"]

_TYPE_NAMES: Final = {
    FLUX_MSGTYPE_REQUEST: "request",
    FLUX_MSGTYPE_RESPONSE: "response",
    FLUX_MSGTYPE_EVENT: "event",
    FLUX_MSGTYPE_CONTROL: "control",
}
_FRAME_FLAGS: Final = FLUX_MSGFLAG_TOPIC | FLUX_MSGFLAG_PAYLOAD | FLUX_MSGFLAG_ROUTE
_EXCLUSIVE: Final = FLUX_MSGFLAG_NORESPONSE | FLUX_MSGFLAG_STREAMING
_WORD_MAX: Final = 0xFFFFFFFF


def msg_typestr(msg_type: int) -> str:
    """The name of the lowest type whose bit is set, so 3 is a request; ``unknown`` without one."""
    return next((name for bit, name in _TYPE_NAMES.items() if msg_type & bit), "unknown")


class _Word:
    """A 32-bit field, which only some types of message have.

    Where a type lacks it, reading is EPROTO and writing EINVAL; a number out of range is OverflowError.
    """

    def __init__(self, field: str, types: int = FLUX_MSGTYPE_ANY, refused: int | None = None) -> None:
        self._field, self._types, self._refused = field, types, refused

    @overload
    def __get__(self, message: None, owner: type[Message]) -> _Word: ...
    @overload
    def __get__(self, message: Message, owner: type[Message]) -> int: ...
    def __get__(self, message: Message | None, owner: type[Message]) -> _Word | int:
        if message is None:
            return self
        if not message.packet.type & self._types:
            raise named_error(errno.EPROTO)
        value: int = getattr(message.packet, self._field)
        return value

    def __set__(self, message: Message, value: int) -> None:
        if not isinstance(value, int):
            raise InvalidArguments(f"want an int, not {type(value)}")
        if not message.packet.type & self._types or value == self._refused:
            raise named_error(errno.EINVAL)
        if not 0 <= value <= _WORD_MAX:
            raise OverflowError(f"{value} is not in the range 0 to {_WORD_MAX}")
        setattr(message.packet, self._field, value)


class _DecodeMethod:
    """`decode` on the class reads a message from bytes; on a message it takes the message apart."""

    @overload
    def __get__(self, message: None, owner: type[Message]) -> Callable[[bytes], Message]: ...
    @overload
    def __get__(self, message: Message, owner: type[Message]) -> Callable[[], tuple[int, str, str | None]]: ...
    def __get__(
        self, message: Message | None, owner: type[Message]
    ) -> Callable[[bytes], Message] | Callable[[], tuple[int, str, str | None]]:
        return _read if message is None else message._take_apart


def _read(framed: bytes) -> Message:
    """The message in one framed message's bytes. Raises ProtocolError, and nothing else."""
    return Message(handle=wire.decode(framed))


def packet_of(message: Message) -> Packet:
    """What a message holds. Raises OSError (EINVAL) for None, TypeError for what is no Message."""
    if message is None:
        raise named_error(errno.EINVAL)
    if not isinstance(message, Message):
        raise InvalidArguments(f"want a Message, not {type(message)}")
    return message.packet


class Message:
    """One message; what it holds is in `packet`.

    handle: a packet to wrap, whatever type_id says. Raises OSError (EINVAL) for an unknown type. A
    field that the type lacks is EPROTO to read and EINVAL to write.
    """

    __slots__ = ("packet",)

    decode = _DecodeMethod()
    userid = _Word("userid")
    rolemask = _Word("rolemask")
    nodeid = _Word("aux1", FLUX_MSGTYPE_REQUEST, refused=FLUX_NODEID_UPSTREAM)
    errnum = _Word("aux1", FLUX_MSGTYPE_RESPONSE)
    seq = _Word("aux1", FLUX_MSGTYPE_EVENT)
    matchtag = _Word("aux2", FLUX_MSGTYPE_REQUEST | FLUX_MSGTYPE_RESPONSE)

    def __init__(self, type_id: int = FLUX_MSGTYPE_REQUEST, handle: Packet | None = None) -> None:
        if handle is None:
            handle = Packet(FLUX_MSGTYPE_REQUEST)
            self.packet = handle
            self.type = type_id
        self.packet = handle

    @classmethod
    def from_event_encode(cls, topic: str | bytes, payload: Any = None) -> Message:
        """An event ready to be sent. Raises as the topic and payload setters do."""
        return cls(handle=wire.event(topic_text(topic), payload_frame(payload)))

    def encode(self) -> bytes:
        """The framed message, as it stands on a stream."""
        return wire.encode(self.packet)

    def _take_apart(self) -> tuple[int, str, str | None]:
        """(type, topic, payload_str).

        Raises OSError with the errnum of an error response, EPROTO without a topic or when the
        payload does not end in a NUL.
        """
        if self.packet.type == FLUX_MSGTYPE_RESPONSE and self.packet.aux1:
            raise named_error(self.packet.aux1)
        return self.packet.type, self.topic, self.payload_str

    @property
    def type(self) -> int:
        """FLUX_MSGTYPE_*. Another type starts with fresh fields, except that a response keeps the matchtag."""
        return self.packet.type

    @type.setter
    def type(self, type_id: int) -> None:
        if type_id not in _TYPE_NAMES:
            raise named_error(errno.EINVAL)
        self.packet.type = type_id
        self.packet.aux1 = FLUX_NODEID_ANY if type_id == FLUX_MSGTYPE_REQUEST else 0
        if type_id != FLUX_MSGTYPE_RESPONSE:
            self.packet.aux2 = 0

    @property
    def type_str(self) -> str:
        """The name of the type."""
        return msg_typestr(self.packet.type)

    @property
    def topic(self) -> str:
        """EPROTO while there is none. A control message takes no topic (EINVAL)."""
        if self.packet.topic is None:
            raise named_error(errno.EPROTO)
        return self.packet.topic

    @topic.setter
    def topic(self, topic: str | bytes) -> None:
        if self.packet.type == FLUX_MSGTYPE_CONTROL:
            raise named_error(errno.EINVAL)
        self.packet.topic = topic_text(topic)

    @property
    def payload_str(self) -> str | None:
        """The payload up to its first NUL, None without one; EPROTO when it does not end in a NUL."""
        return payload_text(self.packet.payload)

    @payload_str.setter
    def payload_str(self, text: str | bytes) -> None:
        if not isinstance(text, (str, bytes)):
            raise InvalidArguments(f"payload_str: want str or bytes, not {type(text)}")
        self.packet.payload = payload_frame(text)

    @property
    def payload(self) -> Any:
        """The payload as JSON: TypeError without one, JSONDecodeError when it is none.

        To set it: None removes it, str and bytes are sent as they are, all else as JSON.
        """
        return json.loads(self.payload_str)  # type: ignore[arg-type]  # None is the promised TypeError

    @payload.setter
    def payload(self, payload: Any) -> None:
        self.packet.payload = payload_frame(payload)

    @property
    def raw_payload(self) -> bytes | None:
        """The payload frame as it is, any NUL included; None without one."""
        return self.packet.payload

    @raw_payload.setter
    def raw_payload(self, data: bytes | None) -> None:
        self.packet.payload = None if data is None else bytes(data)

    @property
    def routes(self) -> list[str] | None:
        """The route stack in wire order, last pushed first; [] when only enabled, None when not even that."""
        return self.packet.routes

    @routes.setter
    def routes(self, routes: Iterable[str] | None) -> None:
        self.packet.routes = None if routes is None else list(routes)

    @property
    def flags(self) -> int:
        """FLUX_MSGFLAG_*; TOPIC, PAYLOAD and ROUTE follow from what the message holds, whatever is set.

        Of NORESPONSE and STREAMING the one set last wins. Bits above 0xff are EINVAL.
        """
        packet = self.packet
        flags = packet.flags & ~_FRAME_FLAGS
        flags |= FLUX_MSGFLAG_TOPIC if packet.topic is not None else 0
        flags |= FLUX_MSGFLAG_PAYLOAD if packet.payload is not None else 0
        return flags | (FLUX_MSGFLAG_ROUTE if packet.routes is not None else 0)

    @flags.setter
    def flags(self, flags: int) -> None:
        if not 0 <= flags <= 0xFF:
            raise named_error(errno.EINVAL)
        before = self.packet.flags & _EXCLUSIVE
        if flags & _EXCLUSIVE == _EXCLUSIVE != before:
            if not before:
                raise named_error(errno.EINVAL)  # nothing says which is meant
            flags &= ~before
        self.packet.flags = flags

    def __repr__(self) -> str:
        return f"<Message {self.type_str} topic={self.packet.topic!r}>"
