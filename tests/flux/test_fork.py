"""A fork leaves the connection to the parent: the child is told so by every call, and disturbs nothing."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from typing import TYPE_CHECKING

import pytest

import flux
from flux import packet as wire
from flux.message import Message
from tests.conftest import DEADLINE_S, wait_until
from tests.forking import in_a_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flux.conftest import Peer


def expect_refusals(*uses: Callable[[], object]) -> None:
    for use in uses:
        with pytest.raises(OSError, match="open a new one after fork") as refusal:
            use()
        assert refusal.value.errno == errno.EINVAL


def uses_of(handle: flux.Flux, rpc: flux.rpc.RPC) -> list[Callable[[], object]]:
    return [
        rpc.get,
        rpc.get_str,
        lambda: rpc.wait_for(0),
        lambda: rpc.then(print),
        lambda: handle.rpc("s.m"),
        lambda: handle.rpc("s.m", flags=1),
        lambda: handle.event_send("e"),
        lambda: handle.event_publish("e", 0, None),
        lambda: handle.event_subscribe("e"),
        lambda: handle.service_register("s"),
        lambda: handle.respond(Message(handle=wire.request("s.m", None, matchtag=1))),
        lambda: handle.attr_get("size"),
        lambda: handle.log(6, "text"),
        handle.recv,
        lambda: handle.recv(flags=4),
        lambda: handle.requeue(Message(), 1),
        handle.pollfd,
        handle.pollevents,
        handle.reactor_run,
        lambda: handle.get_reactor().run(),
        handle.reconnect,
    ]


def test_every_use_in_the_child_is_refused_and_the_parent_goes_on(handle: flux.Flux, peer: Peer) -> None:
    handle._attributes["rank"] = "0"
    rpc = handle.rpc("s.m")
    asked = peer.read()
    peer.send(wire.event("e"))
    assert in_a_child(lambda: expect_refusals(*uses_of(handle, rpc))) == 0
    assert peer.has_been_sent_nothing()
    peer.answer(asked, b"1\0")
    assert rpc.get() == 1
    assert handle.recv().topic == "e"


def test_so_it_is_while_other_threads_are_inside(handle: flux.Flux, peer: Peer) -> None:
    handle._attributes["rank"] = "0"
    rpc, other = handle.rpc("s.1"), handle.rpc("s.2")
    asked = [peer.read(), peer.read()]
    handle.timer_watcher_create(3600, print).start()
    threads = [threading.Thread(target=work, daemon=True) for work in (rpc.get, other.get, handle.reactor_run)]
    for thread in threads:
        thread.start()
    wait_until(lambda: handle.link.readers._followers and handle.get_reactor().is_running, "all threads wait")
    uses = uses_of(handle, rpc)
    with handle.link.lock:  # as if another thread held it
        assert in_a_child(lambda: expect_refusals(*uses)) == 0
    for request in asked:
        peer.answer(request, b"1\0")
    handle.reactor_stop()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_a_child_that_closes_or_drops_the_handle_leaves_the_parent_connected(peer: Peer) -> None:
    handles = [peer.connect()]
    rpc = handles[0].rpc("s.m")
    asked = peer.read()

    def child() -> None:
        handles[0].__exit__()
        handles.clear()

    assert in_a_child(child) == 0
    assert peer.has_been_sent_nothing()
    peer.answer(asked, b"1\0")
    assert rpc.get() == 1
    handles[0].__exit__()
    assert peer.is_hung_up_on()


def test_a_child_sends_nothing_that_the_parent_had_queued(handle: flux.Flux, peer: Peer) -> None:
    statuses: list[int] = []
    pids: list[int] = []

    def callback(*_: object) -> None:
        handle.event_send("queued")
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            pids.append(pid)
            statuses.append(os.waitpid(pid, 0)[1])
        else:
            pids.append(-parent)

    handle.timer_watcher_create(0, callback).start()
    try:
        handle.reactor_run()
    except OSError as error:
        os._exit(0 if pids[0] < 0 and "open a new one after fork" in str(error) else 1)
    if pids[0] < 0:
        os._exit(2)
    assert statuses == [0]
    assert peer.read().topic == "queued"
    handle.event_send("last")
    assert peer.read().topic == "last"


def test_the_child_may_open_a_handle_of_its_own(broker: str) -> None:
    with flux.Flux(broker) as handle:
        assert handle.rpc("broker.ping", {"seq": 1}).get()["seq"] == 1

        def child() -> None:
            with flux.Flux(broker) as own:
                assert own.rpc("broker.ping", {"seq": 2}).get()["seq"] == 2

        assert in_a_child(child) == 0
        assert handle.rpc("broker.ping", {"seq": 3}).get()["seq"] == 3
