"""One handle for many threads: answers find their questions, no message is lost, and all are told of the end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux import packet as wire
from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_REQUEST, FLUX_POLLOUT, FLUX_RPC_STREAMING
from flux.future import FutureExt, WaitAllFuture
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flux.conftest import Peer

THREADS = 16
ROUNDS = 150
STREAMED = 5
DEADLINE_S = 10.0


def run_all(*works: Callable[[], object]) -> None:
    """Run each in a thread of its own, and raise what one of them raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # told below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + DEADLINE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "some thread waits for ever"


def wait_until_followed(handle: flux.Flux, followers: int = 1) -> None:
    """So many threads wait while another one reads."""
    wait_until(lambda: len(handle.link.readers._followers) >= followers, "enough threads follow")


@contextmanager
def reactor_of(handle: flux.Flux) -> Iterator[None]:
    """The handle's reactor runs in a thread of its own."""
    results: list[int] = []
    keeper = handle.timer_watcher_create(3600, lambda *_: None).start()
    thread = threading.Thread(target=lambda: results.append(handle.reactor_run()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        handle.reactor_stop()
        thread.join(DEADLINE_S)
        keeper.destroy()
    assert results, "the reactor did not stop"


@pytest.fixture
def shared(broker: str) -> Iterator[flux.Flux]:
    """A handle to the real broker."""
    with flux.Flux(broker) as handle:
        yield handle


@pytest.fixture
def echo(broker: str) -> Iterator[str]:
    """A service that another handle serves: `echo` answers once, `stream` several times, `never` not at all."""
    with flux.Flux(broker) as handle:

        def answer(handle: flux.Flux, _watcher: object, message: Any, _args: object) -> None:
            handle.respond(message, message.payload)

        def stream(handle: flux.Flux, _watcher: object, message: Any, _args: object) -> None:
            for number in range(STREAMED):
                handle.respond(message, [message.payload, number])
            handle.respond_error(message, 61, "end")

        def forget(*_: object) -> None:
            pass

        handle.service_register("threads").get()
        handle.msg_watcher_create(forget, FLUX_MSGTYPE_REQUEST, "threads.never").start()
        handle.msg_watcher_create(answer, FLUX_MSGTYPE_REQUEST, "threads.echo").start()
        handle.msg_watcher_create(stream, FLUX_MSGTYPE_REQUEST, "threads.stream").start()
        with reactor_of(handle):
            yield "threads"


def talk(handle: flux.Flux, service: str, name: str) -> None:
    """All kinds of calls, each of which checks its own answer."""
    for number in range(ROUNDS):
        mark = f"{name}.{number}"
        assert handle.rpc("broker.ping", {"mark": mark}).get()["mark"] == mark
        pair = [handle.rpc(f"{service}.echo", [mark, place]) for place in range(2)]
        assert [rpc.get() for rpc in reversed(pair)] == [[mark, 1], [mark, 0]]
        if number % 10 == 0:
            stream = handle.rpc(f"{service}.stream", [mark], flags=FLUX_RPC_STREAMING)
            for place in range(STREAMED):
                assert stream.get() == [[mark], place]
                stream.reset()
            with pytest.raises(OSError, match="end"):
                stream.get()
            handle.event_send("threads.event", [mark])
            assert handle.event_publish("threads.event", 0, f'["{mark}"]').get()["seq"]
            handle.log(6, mark)
            assert handle.attr_get("rank") == "0"
            both = WaitAllFuture([handle.rpc(f"{service}.echo", [n]) for n in range(3)])
            both.get()
            assert [child.get() for child in both.children] == [[0], [1], [2]]
        with pytest.raises(TimeoutError):
            handle.rpc(f"{service}.never").wait_for(0)


def test_every_answer_belongs_to_its_question(shared: flux.Flux, echo: str) -> None:
    run_all(*(lambda name=f"t{n}": talk(shared, echo, name) for n in range(THREADS)))


def test_so_it_is_while_one_thread_runs_the_reactor(shared: flux.Flux, echo: str) -> None:
    seen: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    called = threading.Semaphore(0)
    shared.event_subscribe("threads.event")

    def on_event(_handle: object, _watcher: object, message: Any, _args: object) -> None:
        seen[message.payload[0]] += 1

    def on_answer(rpc: flux.rpc.RPC, mark: str) -> None:
        assert rpc.get() == [mark]
        answers[mark] += 1
        called.release()

    def call_back(name: str) -> None:
        for number in range(ROUNDS):
            mark = f"{name}.{number}"
            shared.rpc(f"{echo}.echo", [mark]).then(on_answer, mark, timeout=DEADLINE_S)

    marks = {f"t{n}.{number}" for n in range(THREADS) for number in range(0, ROUNDS, 10)}
    with shared.msg_watcher_create(on_event, FLUX_MSGTYPE_EVENT, "threads.event"), reactor_of(shared):
        run_all(
            *(lambda name=f"t{n}": talk(shared, echo, name) for n in range(THREADS)),
            *(lambda name=f"c{n}": call_back(name) for n in range(4)),
        )
        for _ in range(4 * ROUNDS):
            assert called.acquire(timeout=DEADLINE_S)
        wait_until(lambda: seen.total() >= 2 * len(marks), "every event was seen twice")
    assert set(answers.values()) == {1}
    assert seen == Counter(dict.fromkeys(marks, 2))


def test_each_message_goes_to_one_of_those_who_wait_and_none_is_lost(handle: flux.Flux, peer: Peer) -> None:
    received: list[str] = []

    def receive() -> None:
        while (topic := handle.recv().topic) != "end":
            received.append(topic)

    sent = [f"e.{n}" for n in range(2000)]

    def send() -> None:
        for topic in sent:
            peer.send(wire.event(topic))
        peer.send(*[wire.event("end")] * 4)

    run_all(send, *[receive] * 4)
    assert sorted(received) == sorted(sent)


def test_filters_of_several_threads_divide_the_messages(handle: flux.Flux, peer: Peer) -> None:
    received: dict[str, list[str]] = {name: [] for name in "abc"}

    def receive(name: str) -> None:
        for _ in range(300):
            received[name].append(handle.event_recv(f"{name}.*").topic)

    def send() -> None:
        for number in range(300):
            peer.send(*(wire.event(f"{name}.{number}") for name in "cab"))

    run_all(send, *(lambda name=name: receive(name) for name in received))
    assert received == {name: [f"{name}.{number}" for number in range(300)] for name in "abc"}


def test_a_message_for_the_reactor_wakes_it_while_another_thread_reads(handle: flux.Flux, peer: Peer) -> None:
    rpc = handle.rpc("s.m")
    asked = peer.read()
    waiter = threading.Thread(target=rpc.get)
    waiter.start()
    wait_until(lambda: handle.link.readers.is_led, "somebody reads")
    woken = threading.Event()
    with handle.msg_watcher_create(lambda *_: woken.set()), reactor_of(handle):
        wait_until(lambda: handle.link.readers._sleepers, "the reactor sleeps")
        event = wire.event("e")
        event.rolemask = 1
        peer.send(event)
        assert woken.wait(DEADLINE_S)
        peer.answer(asked, b"1\0")
        waiter.join(DEADLINE_S)
    assert rpc.get() == 1


def test_another_thread_reads_while_a_callback_takes_its_time(handle: flux.Flux, peer: Peer) -> None:
    is_in, may_leave = threading.Event(), threading.Event()

    def callback(*_: object) -> None:
        is_in.set()
        assert may_leave.wait(DEADLINE_S)

    handle.timer_watcher_create(0, callback).start()
    with handle.msg_watcher_create(lambda *_: None), reactor_of(handle):
        assert is_in.wait(DEADLINE_S)
        rpc = handle.rpc("s.m")
        peer.answer(peer.read(), b"7\0")
        assert rpc.get() == 7
        may_leave.set()


def test_then_from_another_thread_wakes_the_reactor(handle: flux.Flux, peer: Peer) -> None:
    called: SimpleQueue[tuple[int, str | None]] = SimpleQueue()

    def callback(rpc: flux.rpc.RPC) -> None:
        called.put((threading.get_ident(), rpc.error_string()))

    with reactor_of(handle):
        handle.rpc("s.m").then(callback)
        peer.answer(peer.read())
        thread, error = called.get(timeout=DEADLINE_S)
        assert (thread != threading.get_ident(), error) == (True, None)
        handle.rpc("s.m").then(callback, timeout=0.01)
        assert called.get(timeout=DEADLINE_S) == (thread, "Connection timed out")


def test_a_reactor_belongs_to_the_thread_that_runs_it(handle: flux.Flux) -> None:
    with reactor_of(handle):
        wait_until(lambda: handle.get_reactor().is_running, "the reactor runs")
        with pytest.raises(OSError, match="run by another thread, to which"):
            handle.reactor_run()


def test_a_time_limit_ends_one_wait_and_hands_the_reading_on(handle: flux.Flux, peer: Peer) -> None:
    first, second = handle.rpc("s.1"), handle.rpc("s.2")
    asked = [peer.read(), peer.read()]

    def give_up() -> None:
        with pytest.raises(TimeoutError):
            first.wait_for(0.2)
        peer.answer(asked[1], b"2\0")

    leader = threading.Thread(target=give_up)
    leader.start()
    wait_until(lambda: handle.link.readers.is_led, "somebody reads")
    assert second.get() == 2
    leader.join(DEADLINE_S)
    peer.answer(asked[0], b"1\0")
    assert first.get() == 1


def test_a_follower_keeps_its_time_limit(handle: flux.Flux) -> None:
    def lead() -> None:
        with pytest.raises(OSError, match="handle is closed"):
            handle.rpc("s.m").get()

    leader = threading.Thread(target=lead, daemon=True)
    leader.start()
    wait_until(lambda: handle.link.readers.is_led, "somebody reads")
    with pytest.raises(TimeoutError):
        handle.rpc("s.m").wait_for(0.05)
    handle.__exit__()
    leader.join(DEADLINE_S)


@pytest.mark.parametrize("leads", [True, False])
def test_ctrl_c_in_the_main_thread_hands_the_reading_on(handle: flux.Flux, peer: Peer, *, leads: bool) -> None:
    mine, theirs = handle.rpc("s.1"), handle.rpc("s.2")
    asked = [peer.read(), peer.read()]
    answers: list[int] = []

    def wait() -> None:
        answers.append(theirs.get())

    def interrupt() -> None:
        if leads:
            wait_until(lambda: handle.link.readers.is_led, "somebody reads")
            other.start()
        wait_until_followed(handle)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    other = threading.Thread(target=wait)
    killer = threading.Thread(target=interrupt)
    if not leads:
        other.start()
        wait_until(lambda: handle.link.readers.is_led, "somebody reads")
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        mine.get()
    peer.answer(asked[1], b"2\0")
    other.join(DEADLINE_S)
    killer.join(DEADLINE_S)
    assert answers == [2]
    peer.answer(asked[0], b"1\0")
    assert mine.get() == 1


def test_all_threads_learn_at_once_that_the_daemon_died(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hearth", "up", "--rundir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        handle = flux.Flux(process.stdout.readline().split()[1])
        ends: list[float] = []
        started = threading.Barrier(THREADS + 1)

        def call() -> None:
            handle.rpc("broker.ping", {}).get()
            started.wait()
            try:
                while True:
                    handle.rpc("broker.ping", {}).get()
            except (ConnectionResetError, BrokenPipeError):
                ends.append(time.monotonic())

        def wait() -> None:
            stream = handle.rpc("log.dmesg", {"follow": True, "nobacklog": True}, flags=FLUX_RPC_STREAMING)
            started.wait()
            try:
                while True:
                    stream.get()
                    stream.reset()
            except ConnectionResetError:
                ends.append(time.monotonic())

        def receive() -> None:
            started.wait()
            with pytest.raises(ConnectionResetError):
                handle.recv()
            ends.append(time.monotonic())

        killed: list[float] = []

        def kill() -> None:
            started.wait()
            process.kill()
            killed.append(time.monotonic())

        run_all(kill, *[call] * (THREADS // 2), *[wait] * (THREADS // 4), *[receive] * (THREADS // 4))
        assert len(ends) == THREADS
        assert max(ends) - killed[0] < 2


def test_a_handle_may_be_closed_while_others_wait(peer: Peer) -> None:
    with peer.connect() as handle:
        waiting = [handle.rpc("s.m") for _ in range(4)]

        def wait(rpc: flux.rpc.RPC) -> None:
            with pytest.raises(OSError, match="handle is closed"):
                rpc.get()

        threads = [threading.Thread(target=wait, args=(rpc,)) for rpc in waiting]
        for thread in threads:
            thread.start()
        wait_until_followed(handle, 3)
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    for _ in waiting:
        peer.read()
    assert peer.is_hung_up_on()


def test_senders_without_room_wait_and_mix_up_no_bytes(shared: flux.Flux, echo: str) -> None:
    def send(name: int) -> None:
        for number in range(12):
            text = f"{name}.{number}." + "x" * 500_000
            assert shared.rpc(f"{echo}.echo", [text]).get() == [text]

    run_all(*(lambda name=n: send(name) for n in range(6)))


def test_each_thread_may_wait_for_a_chain_of_its_own(shared: flux.Flux, echo: str) -> None:
    def chain(future: FutureExt, mark: str, left: int) -> None:
        def answered(rpc: flux.rpc.RPC) -> None:
            assert rpc.get() == [mark, left]
            if left:
                chain(future, mark, left - 1)
            else:
                future.fulfill(mark)

        shared.rpc(f"{echo}.echo", [mark, left]).then(answered)

    def wait(name: int) -> None:
        for number in range(20):
            mark = f"{name}.{number}"
            assert FutureExt(chain, mark, 3, flux_handle=shared).get() == mark

    run_all(*(lambda name=n: wait(name) for n in range(8)))


def test_what_is_sent_after_an_interrupted_send_leaves_with_its_rest(handle: flux.Flux, peer: Peer) -> None:
    arrived: SimpleQueue[str | None] = SimpleQueue()

    def interrupt() -> None:
        wait_until(lambda: handle.link.readers.is_led, "the sender waits for room")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def read() -> None:
        for _ in range(2):
            arrived.put(peer.read().topic)

    killer = threading.Thread(target=interrupt)
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        handle.event_send("big", "x" * 300_000)
    killer.join()
    threading.Thread(target=read, daemon=True).start()
    wait_until(lambda: handle.pollevents() & FLUX_POLLOUT, "there is room")
    handle.event_send("small")
    assert [arrived.get(timeout=DEADLINE_S) for _ in range(2)] == ["big", "small"]


def test_reconnecting_by_hand_under_a_running_reactor_leaves_no_descriptor_open(shared: flux.Flux) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    with shared.msg_watcher_create(lambda *_: None, FLUX_MSGTYPE_EVENT), reactor_of(shared):
        shared.reconnect()
        shared.rpc("broker.ping", {"seq": 1}).get()
        before = count()
        for _ in range(5):
            shared.reconnect()
        wait_until(lambda: count() <= before + 1, "the old streams are closed")


@pytest.mark.parametrize("reconnect", [False, True])
def test_closing_frees_those_who_send_wait_and_run_the_reactor_with_the_same_error(
    broker: str, *, reconnect: bool
) -> None:
    for _ in range(15):
        ended: SimpleQueue[int | None] = SimpleQueue()
        has_begun = threading.Event()
        with flux.Flux(broker, reconnect=reconnect) as handle:

            def ask(handle: flux.Flux = handle) -> None:
                while True:
                    handle.rpc("broker.ping", {"seq": 1, "pad": "x" * 200_000}).get()

            def react(handle: flux.Flux = handle, has_begun: threading.Event = has_begun) -> None:
                def again(rpc: flux.rpc.RPC) -> None:
                    rpc.get()
                    has_begun.set()
                    handle.rpc("broker.ping", {"seq": 1}).then(again)

                handle.rpc("broker.ping", {"seq": 1}).then(again)
                handle.reactor_run()

            def guarded(work: Callable[[], None], ended: SimpleQueue[int | None] = ended) -> None:
                try:
                    work()
                except OSError as error:
                    ended.put(error.errno)

            works = (ask, ask, react, handle.recv)
            threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
            for thread in threads:
                thread.start()
            assert has_begun.wait(DEADLINE_S)
        assert {ended.get(timeout=DEADLINE_S) for _ in threads} <= {errno.EINVAL, errno.EPIPE}
