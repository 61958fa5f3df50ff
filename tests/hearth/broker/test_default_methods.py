"""What every service of the broker answers."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux import packet as wire
from hearth.broker.payloads import no_payload
from hearth.broker.service import Service
from tests.hearth.broker.daemon import running_daemon
from tests.hearth.broker.wire import Client, ask, json_of, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router

FIELDS = {"utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock"} | {
    "msgsnd",
    "msgrcv",
    "nsignals",
    "nvcsw",
    "nivcsw",
}


@pytest.mark.parametrize("payload", [None, {}, {"who": "self"}, {"who": "children"}, {"who": "thread"}])
def test_users_may_ask_what_the_daemon_has_used(guest: Client, payload: object) -> None:
    usage = json_of(guest.ask("attr.rusage", payload))
    assert usage.keys() == FIELDS
    assert isinstance(usage["utime"], float)
    assert isinstance(usage["maxrss"], int)


def test_an_unknown_user_of_the_machine_is_refused(client: Client) -> None:
    answer = client.ask("attr.rusage", {"who": "me"})
    assert (answer.aux1, text_of(answer)) == (errno.EINVAL, "me is unsupported")
    assert client.ask("attr.rusage", {"who": 1}).aux1 == errno.EPROTO


def test_a_ping_from_an_address_that_is_no_text_is_answered(client: Client) -> None:
    """The answer could not be encoded: the rest of what was read with it was lost, too."""
    client.say(ask("attr.ping", {}, 1, routes=["\udcff\udcfe"]), ask("attr.ping", {}, 2))
    assert [packet.aux2 for packet in client.got] == [1, 2]
    assert json_of(client.got[0])["route"].startswith("\ufffd\ufffd!")


def test_an_answer_that_cannot_be_written_is_our_bug_and_its_caller_alone_is_told(
    client: Client, router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(router, "buggy")
    service.add_method("x", no_payload, lambda request, nothing: "\udcff")
    client.say(ask("buggy.x", matchtag=1), ask("attr.ping", {}, 2))
    assert [(packet.aux2, packet.aux1) for packet in client.got] == [(1, errno.EIO), (2, 0)]
    assert "bug in buggy.x" in caplog.text


def counts(request: int = 0, response: int = 0, event: int = 0) -> dict[str, int]:
    return {"request": request, "response": response, "event": event, "control": 0}


def test_traffic_is_counted_by_type_and_for_those_that_left_too(client: Client, other: Client, guest: Client) -> None:
    other.serve("svc")  # a request and its response
    guest.ask("event.subscribe", {"topic": "e"})  # another pair
    client.say(ask("svc.x"), ask("svc.x"), wire.event("e"), wire.event("unheard"))
    other.hang_up()
    expected = {"rx": counts(request=5, event=2), "tx": counts(request=2, response=2, event=1)}
    assert json_of(guest.ask("event.stats-get")) == expected


def test_the_owner_clears_the_counts(client: Client, guest: Client) -> None:
    assert guest.ask("event.stats-clear").aux1 == errno.EPERM
    assert client.ask("event.stats-clear").aux1 == 0
    expected = {"rx": counts(request=1), "tx": counts(response=1)}  # the answer to the clearing, this question
    assert json_of(client.ask("event.stats-get")) == expected


def test_a_daemon_counts_every_message_once() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        for _ in range(10):
            assert client.is_served()
        assert json_of(client.ask("attr.stats-get")) == {
            "rx": counts(request=11),
            "tx": counts(response=10),
        }
        mine = json_of(client.ask("connector-local.stats-get"))["server"]["clients"]
        assert [(peer["rxcount"], peer["txcount"], peer["rxbacklog"]) for peer in mine] == [(12, 11, 0)]


@pytest.mark.parametrize(
    ("op", "flags", "after"),
    [("set", 6, 6), ("setbit", 9, 15), ("clrbit", 3, 12), ("clr", 0, 0), ("set", -(2**31), -(2**31))],
)
def test_debug_flags_are_kept_for_each_service(client: Client, op: str, flags: int, after: int) -> None:
    if op in ("setbit", "clrbit"):
        client.ask("attr.debug", {"op": "set", "flags": 6 if op == "setbit" else 15})
    client.ask("event.debug", {"op": "set", "flags": 1})
    assert json_of(client.ask("attr.debug", {"op": op, "flags": flags})) == {"flags": after}
    assert json_of(client.ask("event.debug", {"op": "setbit", "flags": 0})) == {"flags": 1}


@pytest.mark.parametrize("payload", [None, {}, {"op": "x", "flags": 1}, {"op": "set"}, {"op": "set", "flags": 2**31}])
def test_what_is_no_debug_request_is_a_protocol_error(client: Client, payload: object) -> None:
    assert client.ask("attr.debug", payload).aux1 == errno.EPROTO


def test_a_guest_sets_no_debug_flags(guest: Client) -> None:
    assert guest.ask("attr.debug", {"op": "set", "flags": 1}).aux1 == errno.EPERM
