"""A handle opened to reconnect survives a daemon that is killed and started again, and says what is not restored."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux import packet as wire
from flux.constants import FLUX_MSGTYPE_EVENT, FLUX_MSGTYPE_REQUEST, FLUX_RPC_STREAMING
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flux.conftest import Peer

GIVE_UP_S = 0.3


class Broker:
    """A daemon that can be killed and started again on the same path."""

    def __init__(self, rundir: Path) -> None:
        self._command = [sys.executable, "-m", "hearth", "up", "--rundir", str(rundir)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            self.uri = stdout.readline().split()[1]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


def answer_with(result: object) -> Callable[..., None]:
    def answer(handle: flux.Flux, _watcher: object, message: Any, _args: object) -> None:
        handle.respond(message, result)

    return answer


def test_a_call_after_the_daemon_came_back_is_answered(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as handle:
        assert handle.rpc("broker.ping", {"seq": 1}).get()["seq"] == 1
        mortal.restart()
        assert handle.rpc("broker.ping", {"seq": 2}).get()["seq"] == 2


def test_requests_in_flight_fail_and_are_not_sent_again(peer: Peer) -> None:
    welcome = threading.Thread(target=peer.welcome)
    welcome.start()
    with flux.Flux(peer.uri, reconnect=True) as handle:
        welcome.join()
        rpc = handle.rpc("s.m")
        assert peer.read().topic == "s.m"
        peer.hang_up()
        welcome = threading.Thread(target=peer.welcome)
        welcome.start()
        with pytest.raises(ConnectionResetError):
            rpc.get()
        welcome.join()
        again = handle.rpc("s.again")
        asked = peer.read()
        assert asked.topic == "s.again"
        peer.answer(asked, b"1\0")
        assert again.get() == 1


def test_calls_that_start_while_there_is_no_daemon_wait_for_it(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as handle:
        mortal.kill()
        answers: list[int] = []

        def call(number: int) -> None:
            answers.append(handle.rpc("broker.ping", {"seq": number}).get()["seq"])

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: handle.link.is_mending, "the loss is noticed")
        assert not answers
        mortal.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == list(range(8))


def test_subscriptions_and_services_are_restored_and_the_reactor_goes_on(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as server:
        events: list[str] = []
        lost = threading.Event()
        result: list[int] = []
        for _ in range(2):
            server.event_subscribe("twice")
        server.event_unsubscribe("twice")
        server.event_subscribe("never")
        server.event_unsubscribe("never")
        server.service_register("phoenix").get()
        server.service_register("gone").get()
        server.service_unregister("gone").get()
        server.msg_watcher_create(answer_with(7), FLUX_MSGTYPE_REQUEST, "phoenix.*").start()
        server.msg_watcher_create(lambda _h, _w, message, _a: events.append(message.topic), FLUX_MSGTYPE_EVENT).start()
        stream = server.rpc("log.dmesg", {"follow": True, "nobacklog": True}, flags=FLUX_RPC_STREAMING)
        stream.then(lambda rpc: lost.set() if rpc.error_string() else rpc.reset())
        reactor = threading.Thread(target=lambda: result.append(server.reactor_run()))
        reactor.start()
        mortal.restart()
        assert lost.wait(10)
        with flux.Flux(mortal.uri) as client:
            wait_until(lambda: server.rpc("broker.ping", {}).get(), "the handle is back")
            assert client.rpc("phoenix.m").get() == 7
            with pytest.raises(OSError, match="gone") as refusal:
                client.rpc("gone.m").get()
            assert refusal.value.errno == errno.ENOSYS
            client.event_publish("never", 0, None).get()
            client.event_publish("twice", 0, None).get()
            wait_until(lambda: events, "the event comes")
            server.event_unsubscribe("twice")
            client.event_publish("twice", 0, None).get()
            client.rpc("phoenix.m").get()
        assert events == ["twice"]
        assert reactor.is_alive()
        server.reactor_stop()
        reactor.join(10)
        assert result != [-1]


def test_timers_run_while_there_is_no_daemon(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as handle:
        ticks: list[float] = []

        def tick(*_: object) -> None:
            ticks.append(handle.link.is_mending)
            if ticks.count(True) == 3:
                mortal.start()
                handle.rpc("broker.ping", {}).then(lambda _rpc: handle.reactor_stop())

        with handle.msg_watcher_create(lambda *_: None):
            handle.timer_watcher_create(0, tick, repeat=0.01).start()
            mortal.kill()
            assert handle.reactor_run() >= 0


def test_a_service_that_was_taken_meanwhile_is_reported(mortal: Broker, caplog: pytest.LogCaptureFixture) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as handle:
        handle.service_register("wanted").get()
        is_taken = threading.Event()
        reconnecting = handle.link._reconnecting
        assert reconnecting is not None
        connect = reconnecting._connect
        reconnecting._connect = lambda: connect() if is_taken.wait(10) else pytest.fail("never taken")
        mortal.restart()
        with flux.Flux(mortal.uri) as thief, handle.msg_watcher_create(lambda *_: None):
            handle.timer_watcher_create(0.01, lambda *_: is_taken.set()).start()
            thief.service_register("wanted").get()
            with pytest.raises(FileExistsError, match=r"service.add 'wanted' after the connection was made anew"):
                handle.reactor_run()
        assert "service.add 'wanted'" in caplog.text
        mortal.restart()
        assert handle.rpc("broker.ping", {}).get() is not None
        with flux.Flux(mortal.uri) as other:
            other.service_register("wanted").get()


def test_it_gives_up_after_a_while_and_then_the_connection_is_lost(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=GIVE_UP_S) as handle:
        mortal.kill()
        began = time.monotonic()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            handle.rpc("broker.ping", {}).get()
        assert GIVE_UP_S <= time.monotonic() - began < GIVE_UP_S + 5
        with pytest.raises(BrokenPipeError):
            handle.rpc("broker.ping", {})
        with pytest.raises(ConnectionResetError):
            handle.recv()
        with handle.msg_watcher_create(lambda *_: None):
            assert handle.reactor_run() == -1
        mortal.start()
        assert handle.reconnect() == 0
        assert handle.rpc("broker.ping", {"seq": 3}).get()["seq"] == 3


def test_a_reactor_that_waits_learns_that_it_gave_up(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=GIVE_UP_S) as handle, handle.msg_watcher_create(lambda *_: None):
        mortal.kill()
        assert handle.reactor_run() == -1


def test_closing_ends_the_attempts(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as handle:
        mortal.kill()
        assert handle.link.read_available()

        def wait() -> None:
            with pytest.raises(OSError, match="handle is closed"):
                handle.recv()

        waiter = threading.Thread(target=wait)
        waiter.start()
        wait_until(lambda: handle.link.readers._followers, "a thread waits")
    waiter.join(10)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "flux reconnect"], "the attempts end")


def test_by_hand_nothing_is_restored(mortal: Broker) -> None:
    with flux.Flux(mortal.uri, reconnect=True) as handle:
        handle.service_register("mine").get()
        handle.reconnect()
        mortal.restart()
        handle.rpc("broker.ping", {}).get()
        with flux.Flux(mortal.uri) as other:
            other.service_register("mine").get()


def test_a_socket_that_somebody_else_connected_cannot_be_made_anew() -> None:
    ours, theirs = socket.socketpair()
    theirs.send(b"\0")
    with pytest.raises(OSError, match="ENOTSUP"):
        flux.Flux(f"fd://{ours.detach()}", reconnect=True)
    theirs.close()


def test_a_peer_that_breaks_the_protocol_is_not_called_again(peer: Peer) -> None:
    welcome = threading.Thread(target=peer.welcome)
    welcome.start()
    with flux.Flux(peer.uri, reconnect=True) as handle:
        welcome.join()
        peer.send(wire.event("e"))
        peer.send_bytes(bytes.fromhex("ffee0012 00000001 00"))
        assert handle.recv().topic == "e"
        with pytest.raises(OSError, match="got"):
            handle.recv()


def hang_up_on_sender(peer: Peer, handle: flux.Flux) -> None:
    wait_until(lambda: handle.link.readers.is_led, "the sender waits for room")
    peer.hang_up()


def test_a_message_half_written_at_the_loss_is_told_to_its_sender_at_once(peer: Peer) -> None:
    welcome = threading.Thread(target=peer.welcome)
    welcome.start()
    with flux.Flux(peer.uri, reconnect=True) as handle:
        welcome.join()
        ending = threading.Thread(target=hang_up_on_sender, args=(peer, handle))
        ending.start()
        with pytest.raises(BrokenPipeError):
            handle.event_send("big", "x" * 10_000_000)
        ending.join()
        assert handle.link.is_mending


def test_timers_run_although_the_reactor_was_writing_at_the_loss(peer: Peer) -> None:
    welcome = threading.Thread(target=peer.welcome)
    welcome.start()
    ticks: list[bool] = []
    with flux.Flux(peer.uri, reconnect=True) as handle:
        welcome.join()
        agreeing = threading.Thread(target=lambda: peer.answer(peer.read()))
        agreeing.start()
        handle.event_subscribe("e")  # there will be something to restore
        agreeing.join()

        def tick(*_: object) -> None:
            ticks.append(handle.link.is_mending)
            if len(ticks) == 1:
                handle.event_send("big", "x" * 10_000_000)
                ending.start()
            elif len(ticks) == 4:
                handle.reactor_stop()

        ending = threading.Thread(target=hang_up_on_sender, args=(peer, handle))
        handle.timer_watcher_create(0, tick, 0.01).start()
        with handle.msg_watcher_create(lambda *_: None, FLUX_MSGTYPE_EVENT):
            handle.reactor_run()
        ending.join()
    assert ticks == [False, True, True, True]
