# SPDX-License-Identifier: Apache-2.0
"""A stock keeper, written as for any Flux. Run: python examples/stock/stock_service.py; then see stock_client.py."""

import contextlib
import errno

import flux
from flux.constants import FLUX_MSGTYPE_REQUEST
from flux.core.watchers import Watcher
from flux.message import Message

stock = {"apples": 3, "pears": 5}


def take(handle: flux.Flux, watcher: Watcher, request: Message, args: object) -> None:
    """stock.take {item, count}: answer with what is left, and tell everybody."""
    try:
        item, count = request.payload["item"], int(request.payload["count"])
    except (KeyError, TypeError, ValueError):
        handle.respond_error(request, errno.EPROTO, "want an item and a count")
        return
    there = stock.get(item, 0)
    if not 0 < count <= there:
        handle.respond_error(request, errno.EINVAL, f"{there} {item} are left, not {count}")
        return
    stock[item] = there - count
    handle.event_send("stock.taken", {"item": item, "left": stock[item]})
    handle.respond(request, {"left": stock[item]})


def items(handle: flux.Flux, watcher: Watcher, request: Message, args: object) -> None:
    """stock.items: a stream, one answer an item, then ENODATA for its end."""
    for item, count in stock.items():
        handle.respond(request, {"item": item, "count": count})
    handle.respond_error(request, errno.ENODATA, None)


handle = flux.Flux()
handle.service_register("stock").get()
for topic, answer in (("stock.take", take), ("stock.items", items)):
    handle.msg_watcher_create(answer, FLUX_MSGTYPE_REQUEST, topic).start()
print("serving", flush=True)
with contextlib.suppress(KeyboardInterrupt):
    handle.reactor_run()
