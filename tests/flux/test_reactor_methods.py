"""Each method of a handle that has to do with watchers and the reactor keeps its promise with a real broker."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux.constants import (
    FLUX_MSGTYPE_EVENT,
    FLUX_POLLERR,
    FLUX_POLLIN,
    FLUX_POLLOUT,
    FLUX_REACTOR_NOWAIT,
    FLUX_REACTOR_ONCE,
)
from tests.flux.refusals import INVALID, refused

if TYPE_CHECKING:
    from collections.abc import Callable

Calls = list[Any]
Flux = flux.core.handle.Flux


@pytest.fixture
def h(live: flux.Flux) -> flux.Flux:
    return live


def noting(calls: Calls) -> Callable[..., None]:
    """A callback that notes its arguments."""
    return lambda *args: calls.append(args)


def failing(*_: object) -> None:
    raise RuntimeError("from a callback")


def test_add_watcher_keeps_what_del_watcher_lets_go(h: flux.Flux) -> None:
    watcher = h.timer_watcher_create(1000, failing)
    alive = weakref.ref(watcher)
    assert h.add_watcher(watcher) is watcher
    del watcher
    gc.collect()
    kept = alive()
    assert kept is not None
    h.del_watcher(kept)
    h.del_watcher(kept)
    del kept
    gc.collect()
    assert alive() is None


def test_an_exception_is_stored_for_the_thread_and_raised_once() -> None:
    error = ValueError("stored")
    assert Flux.set_exception(error) is None
    assert Flux.set_exception(error) is error
    others: Calls = []
    thread = threading.Thread(target=lambda: others.append(Flux.set_exception(None)))
    thread.start()
    thread.join()
    assert others == [None]
    with pytest.raises(ValueError, match="stored") as raised:
        Flux.raise_if_exception()
    assert raised.value is error
    assert raised.value.__cause__ is None
    assert Flux.raise_if_exception() is None


def test_an_exception_set_by_a_callback_is_raised_when_the_reactor_ends(h: flux.Flux) -> None:
    calls: Calls = []
    h.timer_watcher_create(0, lambda *_: h.set_exception(KeyError("later"))).start()
    h.timer_watcher_create(0.005, noting(calls)).start()
    with pytest.raises(KeyError):
        h.reactor_run()
    assert len(calls) == 1


def test_what_is_no_reactor_is_refused_by_name(h: flux.Flux) -> None:
    for call in (h.reactor_run, h.reactor_stop, h.reactor_stop_error):
        with pytest.raises(flux.wrapper.InvalidArguments, match="want what get_reactor returns, not <class 'int'>"):
            call(5)  # type: ignore[arg-type]  # the refusal is the point


def test_reactor_run_serves_what_is_asked_until_it_is_stopped(h: flux.Flux) -> None:
    calls: Calls = []
    ticking = h.timer_watcher_create(0, noting(calls), 0.001)
    with ticking:
        h.rpc("broker.ping", {}).then(lambda future: h.reactor_stop(future.get_reactor()))
        assert h.reactor_run(h.get_reactor(), 0) == 0
        h.timer_watcher_create(0, lambda *_: h.reactor_stop_error()).start()
        assert h.reactor_run() == -1
        assert h.reactor_run(flags=FLUX_REACTOR_NOWAIT) >= 0
        assert h.reactor_run(flags=FLUX_REACTOR_ONCE) >= 0
        refused(*INVALID, lambda: h.reactor_run(flags=4))
    assert calls
    assert all(call == (h, ticking, 0, None) for call in calls)
    assert h.reactor_run() == 0


@pytest.mark.parametrize("kind", ["timer", "periodic", "fd", "signal", "msg", "prepare", "check", "idle", "then"])
def test_an_exception_in_a_callback_of_any_kind_is_raised_by_the_run(h: flux.Flux, kind: str) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    h.event_subscribe("kind")
    number = signal.SIGUSR1 if kind == "signal" else 0
    keeper = h.timer_watcher_create(0.001, lambda *_: os.kill(os.getpid(), number))
    make: dict[str, Callable[[], Any]] = {
        "timer": lambda: h.timer_watcher_create(0, failing),
        "periodic": lambda: h.periodic_watcher_create(0, 0.001, failing),
        "fd": lambda: h.fd_watcher_create(read_end, failing, FLUX_POLLIN | FLUX_POLLERR),
        "signal": lambda: h.signal_watcher_create(signal.SIGUSR1, failing),
        "msg": lambda: h.msg_watcher_create(failing, FLUX_MSGTYPE_EVENT, b"k?nd"),
        "prepare": lambda: h.prepare_watcher_create(failing),
        "check": lambda: h.check_watcher_create(failing),
        "idle": lambda: h.idle_watcher_create(failing),
        "then": lambda: h.rpc("broker.ping", {}).then(failing),
    }
    h.event_send("kind")
    try:
        with make[kind]():
            if kind in ("signal", "check"):  # neither ends a wait by itself
                keeper.start()
            with pytest.raises(RuntimeError, match="from a callback"):
                h.reactor_run()
    finally:
        keeper.destroy()
        os.close(read_end)
        os.close(write_end)
    assert h.rpc("broker.ping", {}).get()["rank"] == 0


def test_watchers_chain_and_repeat_without_effect(h: flux.Flux) -> None:
    watchers = [
        h.timer_watcher_create("1000", failing, repeat="2", args="mine"),
        h.periodic_watcher_create(0, 1000000, failing, args="mine"),
        h.fd_watcher_create(0, failing, args="mine"),
        h.signal_watcher_create(signal.SIGUSR2, failing, args="mine"),
        h.prepare_watcher_create(failing, args="mine"),
        h.check_watcher_create(failing, args="mine"),
        h.idle_watcher_create(None, args="mine"),
    ]
    for watcher in watchers:
        assert (watcher.flux_handle, watcher.args) == (h, "mine")
        assert watcher.start().start().stop().stop().ref().ref().unref().unref() is watcher
        watcher.destroy()
        watcher.destroy()
        watcher.start()
        assert not watcher.is_active
    first = watchers[0]
    assert isinstance(first, flux.core.watchers.TimerWatcher)
    assert (first.after, first.repeat, first.callback) == (1000, 2, failing)
    assert h.fd_watcher_create(0, failing).events == FLUX_POLLIN | FLUX_POLLOUT | FLUX_POLLERR
    listening = h.msg_watcher_create(failing, topic_glob=b"no.such.topic")
    for method in (listening.start, listening.stop, listening.destroy):
        method()
        method()
    listening.start()
    assert not listening.is_active
    assert h.reactor_run() == 0


@pytest.mark.parametrize("wrong", [-1, -0.5])
def test_times_and_signals_out_of_range_are_refused_where_they_are_given(h: flux.Flux, wrong: float) -> None:
    refused(*INVALID, lambda: h.timer_watcher_create(wrong, failing))
    refused(*INVALID, lambda: h.timer_watcher_create(0, failing, wrong))
    for signum in (-500, 0, 65):
        refused(errno.EINVAL, "invalid signal number", h.signal_watcher_create, signum, failing)
    refused(errno.EBADF, "Bad file descriptor", h.fd_watcher_create(1 << 20, failing).start)
    with pytest.raises(TypeError):
        h.msg_watcher_create(failing, topic_glob=None)  # type: ignore[arg-type]  # the refusal is the point


def test_a_message_watcher_takes_text_and_bytes_of_any_language(h: flux.Flux) -> None:
    """t0007 "msg_watcher_unicode" and "_bytes"."""
    calls: Calls = []
    h.event_subscribe("㋛")
    with (
        h.msg_watcher_create(noting(calls), FLUX_MSGTYPE_EVENT, "㋛.☺", "text"),
        h.msg_watcher_create(noting(calls), FLUX_MSGTYPE_EVENT, "㋛.*".encode(), "bytes"),
    ):
        h.event_send("㋛.☺")
        h.rpc("broker.ping", {}).then(lambda _: h.reactor_stop())
        h.reactor_run()
    assert [(handle, message.topic, args) for handle, _, message, args in calls] == [
        (h, "㋛.☺", "bytes"),
        (h, "㋛.☺", "text"),
    ]


def test_a_callback_that_exits_ends_the_program_as_it_says(broker: str) -> None:
    script = (
        "import flux, sys; h = flux.Flux(sys.argv[1])\n"
        "h.rpc('broker.ping', {}).then(lambda f: sys.exit(7))\n"
        "h.reactor_run()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script, broker], env=environment, check=False, timeout=30)
    assert ran.returncode == 7
