# SPDX-License-Identifier: Apache-2.0
"""What the daemon and the fork server say to each other: a length and a msgpack array, answers in order."""

from __future__ import annotations

import os
import socket
from typing import Final, TypeAlias

import msgspec

__all__ = [
    "Answer",
    "Ended",
    "Fork",
    "Forked",
    "Loaded",
    "Refused",
    "Request",
    "Wait",
    "decode_answers",
    "encode",
    "receive",
]


class Fork(msgspec.Struct, array_like=True, tag=True):
    """Become this program; its stdout and stderr come along as descriptors. The answer is Forked or Refused.

    executable is the interpreter as command[0] names it. Bytes throughout: neither arguments nor variables need
    be text.
    """

    executable: bytes
    command: list[bytes]
    environment: dict[bytes, bytes]
    folder: bytes


class Wait(msgspec.Struct, array_like=True, tag=True):
    """Reap a child that has ended. The answer is Ended."""

    pid: int


class Loaded(msgspec.Struct, array_like=True, tag=True):
    """The first answer, to no request: the server is ready."""


class Forked(msgspec.Struct, array_like=True, tag=True):
    """The child is there, and runs from now on."""

    pid: int


class Refused(msgspec.Struct, array_like=True, tag=True):
    """There was nothing to fork with."""

    text: str


class Ended(msgspec.Struct, array_like=True, tag=True):
    """The exit status, or a negative signal number."""

    status: int


Request: TypeAlias = Fork | Wait
Answer: TypeAlias = Loaded | Forked | Refused | Ended

DESCRIPTORS: Final = 2  # of a Fork
_LENGTH_BYTES: Final = 4

_encoder = msgspec.msgpack.Encoder()
_decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


def encode(message: Request | Answer) -> bytes:
    """A message with its length in front, four bytes, big-endian."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def decode_answers(received: bytearray) -> list[Answer]:
    """Take the whole messages off the front of what was received."""
    answers = []
    while len(received) >= _LENGTH_BYTES:
        end = _LENGTH_BYTES + int.from_bytes(received[:_LENGTH_BYTES], "big")
        if len(received) < end:
            break
        answers.append(_decode_answer(received[_LENGTH_BYTES:end]))
        del received[:end]
    return answers


def receive(stream: socket.socket) -> tuple[Request, list[int]] | None:
    """Wait for a request and the descriptors that came with it, which are the caller's; None at the end."""
    head, descriptors, _, _ = socket.recv_fds(stream, _LENGTH_BYTES, DESCRIPTORS)
    head += _read(stream, _LENGTH_BYTES - len(head)) if head else b""
    body = _read(stream, int.from_bytes(head, "big"))
    if len(head) == _LENGTH_BYTES and body:
        return _decode_request(body), descriptors
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def _read(stream: socket.socket, size: int) -> bytes:
    """So many bytes, none if the stream ends before."""
    data = bytearray()
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            return b""
        data += part
    return bytes(data)
