# SPDX-License-Identifier: Apache-2.0
"""The fork server's loop: one request, one answer. Children are reaped when the daemon, which watches them, asks."""

from __future__ import annotations

import os
import socket

from hearth.zygote.messages import Answer, Ended, Fork, Forked, Loaded, Refused, Wait, encode, receive

__all__ = ["serve"]


def serve(descriptor: int) -> tuple[Fork, list[int]]:
    """Serve the daemon at the other end of the socket; this process ends when the daemon does.

    Returns in children only: with what they are to become, and the descriptors of their stdout and stderr.
    """
    stream = socket.socket(fileno=descriptor)
    _answer(stream, Loaded())
    while True:
        received = receive(stream)
        if received is None:
            os._exit(0)
        request, descriptors = received
        if isinstance(request, Wait):
            _answer(stream, _reap(request.pid))
        elif _fork(stream):
            stream.close()
            return request, descriptors
        for each in descriptors:
            os.close(each)


def _fork(stream: socket.socket) -> bool:
    """Fork and tell the daemon; True in the child.

    The child goes on only when the daemon can read that it exists: one of a server that died in between would run
    unseen beside the one that is started in its place.
    """
    go_read, go_write = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        _answer(stream, Refused(f"fork: {error.strerror}"))
        pid = -1
    if pid > 0:
        _answer(stream, Forked(pid))
        os.write(go_write, b"!")
    os.close(go_write)
    if pid == 0 and not os.read(go_read, 1):
        os._exit(0)
    os.close(go_read)
    return pid == 0


def _reap(pid: int) -> Answer:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError as error:
        return Refused(f"wait for {pid}: {error.strerror}")
    return Ended(os.waitstatus_to_exitcode(status))


def _answer(stream: socket.socket, answer: Answer) -> None:
    try:
        stream.sendall(encode(answer))
    except ConnectionError:
        os._exit(0)  # the daemon is gone
