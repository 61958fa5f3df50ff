"""The handle against a real broker in a process of its own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import Any

import pytest

import flux
from flux.constants import (
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_MSGTYPE_RESPONSE,
    FLUX_ROLE_ALL,
    FLUX_ROLE_LOCAL,
    FLUX_ROLE_OWNER,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
)
from flux.message import Message

Calls = list[Any]


@pytest.fixture
def handle(live: flux.Flux) -> flux.Flux:
    return live


def test_a_ping_comes_back_with_all_that_was_sent(handle: flux.Flux) -> None:
    payload = {"seq": 1, "pad": "☺ ü", "㋡": [1, None]}
    answer = handle.rpc(b"broker.ping", payload).get()
    assert {key: answer[key] for key in payload} == payload
    assert (answer["userid"], answer["rank"]) == (os.getuid(), 0)


def test_a_handle_that_nobody_holds_serves_its_request(broker: str) -> None:
    assert flux.Flux(broker).rpc("broker.ping", {"seq": 2}).get()["seq"] == 2


def test_flux_uri_is_the_default_address(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_URI", broker)
    for url in (None, ".", "..", "../..", "/"):
        with flux.Flux(url) as handle:
            assert handle.attr_get("local-uri") == broker


def test_attributes_are_read_and_written(handle: flux.Flux) -> None:
    assert handle.get_rank() == int(handle.attr_get(b"rank")) == 0
    assert handle.rpc("attr.set", {"name": "test.flux", "value": "42"}).get() is None
    assert handle.attr_get("test.flux") == "42"
    handle.attr_set("test.flux", "ƒ")
    assert handle.attr_get("test.flux") == "ƒ"
    handle.attr_remove("test.flux")
    with pytest.raises(FileNotFoundError):
        handle.attr_get("test.flux")


def test_an_attribute_that_may_not_be_changed_is_refused(handle: flux.Flux) -> None:
    with pytest.raises(OSError, match="EINVAL: Invalid argument"):
        handle.attr_set("local-uri", "elsewhere")
    with pytest.raises(FileNotFoundError, match="ENOENT: No such file or directory"):
        handle.attr_get("zork")
    with pytest.raises(OSError, match="Topic must not be None"):
        handle.attr_get(None)  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(ValueError, match="Attribute value must be a string"):
        handle.attr_set("test.flux", 1)  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(ValueError, match="Attribute name must be a string"):
        handle.attr_set(b"test.flux", "1")  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(ValueError, match="Attribute name must be a string"):
        handle.attr_remove(1)  # type: ignore[arg-type]  # the refusal is the point


@pytest.mark.parametrize(
    ("topic", "nodeid", "errnum", "text"),
    [
        ("zork.m", 0xFFFFFFFF, errno.ENOSYS, "No service matching zork.m is registered"),
        ("attr.zork", 0xFFFFFFFF, errno.ENOSYS, "Unknown service method 'attr.zork'"),
        ("attr.get", 99, errno.EHOSTUNREACH, "No route to host"),
        ("attr.get", 0xFFFFFFFE, errno.EHOSTUNREACH, "No route to host"),
        ("attr.get", 0, errno.EPROTO, "Protocol error"),
    ],
)
def test_a_request_that_fails_says_why(handle: flux.Flux, topic: str, nodeid: int, errnum: int, text: str) -> None:
    with pytest.raises(OSError, match=text) as raised:
        handle.rpc(topic, nodeid=nodeid).get()
    assert (raised.value.errno, raised.value.strerror) == (errnum, text)


def test_a_request_without_response_is_carried_out(handle: flux.Flux) -> None:
    handle.rpc("attr.set", {"name": "test.quiet", "value": "1"}, flags=FLUX_RPC_NORESPONSE)
    assert handle.attr_get("test.quiet") == "1"


# Events


@pytest.mark.parametrize("topic", ["test.event", b"test.event", "㋛.☺"])
def test_an_event_comes_back_to_its_subscriber(handle: flux.Flux, topic: str) -> None:
    assert handle.event_subscribe(topic) == 0
    assert handle.event_send(topic, {"test": "yay!"}) == 0
    event = handle.event_recv(topic)
    assert event.topic == (topic.decode() if isinstance(topic, bytes) else topic)
    assert (event.payload, event.payload_str) == ({"test": "yay!"}, '{"test": "yay!"}')
    assert (event.userid, event.rolemask) == (os.getuid(), FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL)
    assert handle.event_unsubscribe(topic) == 0


def test_a_publication_is_confirmed_after_the_event_arrived(handle: flux.Flux) -> None:
    calls: Calls = []

    def confirm(future: flux.RPC) -> None:
        calls.append(future.get()["seq"])
        handle.reactor_stop()

    handle.event_subscribe("pub")
    with handle.msg_watcher_create(lambda _h, _w, m, _a: calls.append((m.seq, m.payload, m.flags)), FLUX_MSGTYPE_EVENT):
        handle.event_publish("pub.a", FLUX_MSGFLAG_PRIVATE, '{"a": 1}').then(confirm)
        handle.reactor_run()
    (seq, payload, flags), confirmed = calls
    assert (seq, payload, flags & FLUX_MSGFLAG_PRIVATE) == (confirmed, {"a": 1}, FLUX_MSGFLAG_PRIVATE)


def test_events_without_subscription_do_not_come(handle: flux.Flux) -> None:
    handle.event_subscribe("wanted")
    for topic in ("unwanted", "wanted.1"):
        handle.event_send(topic)
    handle.event_unsubscribe("wanted")
    handle.event_send("wanted.2")
    handle.rpc("broker.ping", {}).get()
    assert handle.recv(flags=4).topic == "wanted.1"
    with pytest.raises(BlockingIOError):
        handle.recv(flags=4)


def test_a_wrong_subscription_is_refused(handle: flux.Flux) -> None:
    with pytest.raises(OSError, match="No such file"):
        handle.event_unsubscribe("never.subscribed")
    with pytest.raises(OSError, match="Topic must not be None"):
        handle.event_subscribe(None)  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(TypeError, match="Topic must be a string"):
        handle.event_create(15)  # type: ignore[arg-type]  # the refusal is the point


# Services


def serve(handle: flux.Flux, name: str) -> None:
    """A service with methods that echo, fail, and count to three."""

    def echo(served: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        assert served.respond(message, message.payload) == 0

    def error(served: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        assert served.respond_error(message, errno.EEXIST, "it exists") == 0

    def count(served: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        for number in range(3):
            served.respond(message, {"count": number})
        served.respond_error(message, errno.ENODATA, None)

    assert handle.service_register(name).get() is None
    for method, callback in (("echo", echo), ("error", error), ("count", count)):
        handle.msg_watcher_create(callback, FLUX_MSGTYPE_REQUEST, f"{name}.{method}", rolemask=FLUX_ROLE_ALL).start()


def test_a_handle_calls_its_own_service_from_the_reactor(handle: flux.Flux) -> None:
    calls: Calls = []

    def done(future: flux.RPC) -> None:
        calls.append(future.error_string() or future.get())
        if len(calls) == 2:
            handle.reactor_stop()

    serve(handle, "own")
    for method in ("echo", "error"):
        handle.rpc(f"own.{method}", {"a": 1}).then(done)
    assert handle.reactor_run() > 0
    assert calls == [{"a": 1}, "it exists"]


def test_a_handle_that_waits_for_its_own_service_runs_out_of_time(handle: flux.Flux) -> None:
    serve(handle, "selfish")
    with pytest.raises(TimeoutError):
        handle.rpc("selfish.echo", {}).wait_for(0.05)


def test_a_stream_of_a_service_ends_with_no_data(handle: flux.Flux) -> None:
    calls: Calls = []

    def counted(future: flux.RPC) -> None:
        if future.error_string() is None:
            calls.append(future.get()["count"])
            future.reset()
        else:
            calls.append(future.error_string())
            handle.reactor_stop()

    serve(handle, "counter")
    handle.rpc("counter.count", flags=FLUX_RPC_STREAMING).then(counted)
    handle.reactor_run()
    assert calls == [0, 1, 2, "No data available"]


def test_a_hand_made_request_is_answered_to_a_response_watcher(handle: flux.Flux) -> None:
    """The case of the original's own tests, t0008 "send" and t1000 "004_service_rpc"."""
    answers: list[Message] = []

    def answered(_handle: flux.Flux, _watcher: object, message: Message, _args: object) -> None:
        answers.append(message)
        handle.reactor_stop()

    serve(handle, "foo")
    request = Message()
    request.topic, request.payload = "foo.echo", {"data": "foo"}
    with handle.msg_watcher_create(answered, FLUX_MSGTYPE_RESPONSE, "foo.echo"):
        handle.send(request)
        assert handle.reactor_run() > 0
    assert answers[0].payload == {"data": "foo"}
    assert (answers[0].userid, answers[0].rolemask) == (os.getuid(), FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL)


def test_a_service_name_is_taken_until_it_is_given_back(handle: flux.Flux, broker: str) -> None:
    assert handle.service_register("mine").get() is None
    with flux.Flux(broker) as other, pytest.raises(FileExistsError):
        other.service_register("mine").get()
    with pytest.raises(OSError, match="Invalid argument"):
        handle.service_register("a.b").get()
    assert handle.service_unregister("mine").get() is None
    with pytest.raises(FileNotFoundError):
        handle.service_unregister("mine").get()
    with pytest.raises(OSError, match="No service matching mine"):
        handle.rpc("mine.m").get()


def test_a_service_goes_with_its_handle(handle: flux.Flux, broker: str) -> None:
    other = flux.Flux(broker)
    other.service_register("short").get()
    del other
    handle.rpc("broker.ping", {}).get()  # the broker hears of the end before it hears this
    with pytest.raises(OSError, match="No service matching"):
        handle.rpc("short.m").get()


def test_two_handles_talk_over_the_broker_in_both_ways_at_once(handle: flux.Flux, broker: str) -> None:
    """A thousand requests from another process while this one serves them."""
    serve(handle, "busy")
    script = (
        "import flux, sys; h = flux.Flux(sys.argv[1]); n = []\n"
        "def done(f): n.append(f.get()); len(n) < 1000 or h.reactor_stop()\n"
        "for i in range(1000): h.rpc('busy.echo', i).then(done)\n"
        "h.reactor_run(); assert n == list(range(1000))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script, broker], env=environment) as client:

        def stop_after_client(*_: object) -> None:
            if client.poll() is not None:
                handle.reactor_stop()

        with handle.timer_watcher_create(0.01, stop_after_client, 0.01):
            handle.reactor_run()
        assert client.returncode == 0


def test_importing_flux_is_cheap() -> None:
    script = "import sys, flux; print(*sorted({'asyncio', 'click', 'yaml', 'psutil', 'hearth'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
