# SPDX-License-Identifier: Apache-2.0
"""A Flux service that sends back what it gets, as raw bytes: `bench.echo`. Prints a line when it serves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import flux
from flux.constants import FLUX_MSGTYPE_REQUEST

if TYPE_CHECKING:
    from flux.message import Message


def echo(handle: flux.Flux, watcher: object, message: Message, args: Any) -> None:
    """Answer with the request's own payload."""
    handle.respond(message, message.raw_payload)


def main() -> None:
    """Serve until the instance ends."""
    handle = flux.Flux()
    handle.service_register("bench").get()
    handle.msg_watcher_create(echo, FLUX_MSGTYPE_REQUEST, "bench.echo").start()
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    handle.reactor_run()


if __name__ == "__main__":
    main()
