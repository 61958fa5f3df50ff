from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import flux
from flux import packet as wire
from flux.connector import connect
from flux.constants import FLUX_POLLERR, FLUX_POLLIN, FLUX_REACTOR_NOWAIT, FLUX_REACTOR_ONCE, FLUX_RPC_STREAMING

if TYPE_CHECKING:
    from tests.flux.conftest import Peer

Calls = list[Any]
BAD_MAGIC = bytes.fromhex("ffee0012 00000001 00")
BAD_LENGTHS = bytes.fromhex("1200eeff 00000002 05aa")


def test_a_waiting_future_gets_connection_reset(handle: flux.Flux, peer: Peer) -> None:
    rpc, stream = handle.rpc("s.m"), handle.rpc("s.s", flags=FLUX_RPC_STREAMING)
    peer.hang_up()
    for future in (rpc, stream):
        with pytest.raises(ConnectionResetError, match="Connection reset by peer"):
            future.get()


def test_recv_gets_what_came_before_and_then_connection_reset(handle: flux.Flux, peer: Peer) -> None:
    peer.send(wire.event("e"))
    peer.hang_up()
    assert handle.recv().topic == "e"
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            handle.recv()
    with pytest.raises(ConnectionResetError):
        handle.recv(flags=4)
    assert handle.pollevents() == FLUX_POLLERR


def test_sending_after_the_loss_is_a_broken_pipe(handle: flux.Flux, peer: Peer) -> None:
    peer.send(wire.event("e"))
    peer.hang_up()
    with pytest.raises(BrokenPipeError, match="EPIPE: Broken pipe"):
        handle.event_send("e")
    with pytest.raises(BrokenPipeError):
        handle.rpc("s.m")
    assert handle.pollevents() == FLUX_POLLERR | FLUX_POLLIN
    assert handle.recv().topic == "e"


def test_a_waiting_callback_is_called_and_the_run_returns_minus_one(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    handle.rpc("s.m").then(lambda future: calls.append(future.error_string()))
    peer.read()
    handle.timer_watcher_create(0, lambda *_: peer.hang_up()).start()
    with handle.msg_watcher_create(lambda *_: None):
        assert handle.reactor_run() == -1
        assert calls == ["Connection reset by peer"]
        assert handle.reactor_run() == -1
    assert handle.reactor_run() == 0


def test_messages_that_came_before_the_loss_are_dispatched(handle: flux.Flux, peer: Peer) -> None:
    topics: list[str] = []
    events = [wire.event(f"e.{n}") for n in range(3)]
    for event in events:
        event.rolemask = 1
    with handle.msg_watcher_create(lambda _h, _w, message, _a: topics.append(message.topic)):
        peer.send(*events)
        peer.hang_up()
        assert handle.reactor_run() == -1
    assert topics == ["e.0", "e.1", "e.2"]


def test_a_send_in_a_callback_that_finds_the_peer_gone_ends_the_run(handle: flux.Flux, peer: Peer) -> None:
    def callback(*_: object) -> None:
        peer.hang_up()
        handle.event_send("e")

    handle.timer_watcher_create(0, callback).start()
    with handle.msg_watcher_create(lambda *_: None):
        assert handle.reactor_run() == -1


@pytest.mark.parametrize(("data", "errnum"), [(BAD_MAGIC, errno.EPROTO), (BAD_LENGTHS, errno.EINVAL)])
def test_a_peer_that_breaks_the_protocol_is_reported_as_such(
    handle: flux.Flux, peer: Peer, data: bytes, errnum: int
) -> None:
    rpc = handle.rpc("s.m")
    peer.send(wire.event("e"))
    peer.send_bytes(data)
    with pytest.raises(OSError, match="got") as raised:
        rpc.get()
    assert raised.value.errno == errnum
    assert handle.recv().topic == "e"
    with pytest.raises(OSError, match="got") as raised:
        handle.recv()
    assert raised.value.errno == errnum


def test_reconnect_fails_what_was_in_flight_and_goes_on(handle: flux.Flux, peer: Peer) -> None:
    calls: Calls = []
    old = handle.rpc("s.m").then(lambda future: calls.append(future.error_string()))
    peer.send(wire.event("kept"))
    handle.reactor_run(flags=1)
    welcome = threading.Thread(target=peer.welcome)
    welcome.start()
    assert handle.reconnect() == 0
    welcome.join()
    rpc = handle.rpc("s.n").then(lambda future: calls.append(future.get()))
    while (request := peer.read()).topic != "s.n":
        pytest.fail(f"{request} belongs to the old connection")
    peer.answer(request, b"1\0")
    assert handle.reactor_run() == 0
    assert calls == ["RPC aborted due to broker reconnect", 1]
    with pytest.raises(ConnectionResetError):
        old.get()
    assert rpc.get() == 1


def test_a_reconnect_that_fails_leaves_the_handle_as_it_is(handle: flux.Flux, peer: Peer) -> None:
    Path(peer.uri.removeprefix("local://")).unlink()
    with pytest.raises(FileNotFoundError, match="was not found"):
        handle.reconnect()
    handle.event_send("e")
    assert peer.read().topic == "e"


def test_at_the_end_of_a_with_block_the_handle_hangs_up(peer: Peer) -> None:
    with peer.connect() as handle:
        rpc = handle.rpc("s.m")
        handle.timer_watcher_create(1, lambda *_: None).start()
    peer.read()
    assert peer.is_hung_up_on()
    for call in (rpc.get, handle.recv, lambda: handle.rpc("s.m"), lambda: handle.event_send("e")):
        with pytest.raises(OSError, match="handle is closed"):
            call()
    with pytest.raises(RuntimeError):
        handle.close()


def test_a_child_after_fork_is_kept_from_the_parents_stream(handle: flux.Flux, peer: Peer) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            handle.event_send("from the child")
        except OSError as error:
            os._exit(0 if "open a new one after fork" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    handle.event_send("from the parent")
    assert peer.read().topic == "from the parent"


def test_a_child_that_drops_the_handle_does_not_deafen_the_parents_reactor(handle: flux.Flux, peer: Peer) -> None:
    topics: list[str] = []
    with handle.msg_watcher_create(lambda _h, _w, message, _a: topics.append(message.topic)):
        handle.reactor_run(flags=FLUX_REACTOR_NOWAIT)
        pid = os.fork()
        if pid == 0:
            handle.__exit__()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        event = wire.event("e")
        event.rolemask = 1
        peer.send(event)
        handle.timer_watcher_create(60, lambda *_: handle.reactor_stop_error()).start().unref()
        handle.reactor_run(flags=FLUX_REACTOR_ONCE)
    assert topics == ["e"]


# Connecting


@pytest.mark.parametrize(
    ("greeting", "error", "text"),
    [
        (b"\1", PermissionError, "Operation not permitted"),
        (b"", ConnectionResetError, "Connection reset by peer"),
        (b"\x0d", PermissionError, "Permission denied"),
    ],
)
def test_a_server_that_does_not_welcome_us_is_reported(
    peer: Peer, greeting: bytes, error: type[OSError], text: str
) -> None:
    def greet() -> None:
        peer.welcome(greeting)
        peer.hang_up()

    server = threading.Thread(target=greet)
    server.start()
    with pytest.raises(error, match=f"Unable to connect to Flux: {text}"):
        flux.Flux(peer.uri)
    server.join()


@pytest.mark.parametrize(
    ("uri", "errnum", "text"),
    [
        ("", errno.ENOENT, "Unable to find connector name ''"),
        ("foo", errno.ENOENT, "Unable to find connector name 'foo'"),
        ("zork://x", errno.ENOENT, "Unable to find connector name 'zork'"),
        ("local://", errno.EINVAL, "Invalid argument"),
        ("local://" + "x" * 200, errno.EINVAL, "Invalid argument"),
        ("local:///no/such/socket", errno.ENOENT, "broker socket /no/such/socket was not found"),
        ("/foo", errno.EINVAL, "/foo: invalid URI"),
        ("./foo", errno.EINVAL, "./foo: invalid URI path element 'foo'"),
    ],
)
def test_an_address_that_leads_nowhere_is_reported(
    uri: str, errnum: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "0")
    with pytest.raises(OSError, match="Unable to connect to Flux: ") as raised:
        flux.Flux(uri)
    assert (raised.value.errno, raised.value.strerror) == (errnum, f"Unable to connect to Flux: {text}")


def test_a_retry_count_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "often")
    with pytest.raises(OSError, match="Invalid argument"):
        connect("local:///no/such/socket")


def test_a_file_that_is_no_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "0")
    (tmp_path / "file").touch()
    with pytest.raises(ConnectionRefusedError, match="Unable to connect to Flux: Connection refused"):
        flux.Flux(f"local://{tmp_path / 'file'}")


def test_wrong_arguments_of_a_handle_are_refused(peer: Peer) -> None:
    with pytest.raises(OSError, match="Unable to connect to Flux: invalid flags specified"):
        flux.Flux(peer.uri, 128)
    with pytest.raises(ValueError, match="no C handle"):
        flux.Flux(peer.uri, handle=object())  # type: ignore[arg-type]  # the refusal is the point
