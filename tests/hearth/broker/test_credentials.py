"""What messages may claim, who may ask what."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import FLUX_ROLE_ALL, FLUX_ROLE_OWNER, FLUX_ROLE_USER
from hearth.broker.credentials import OWNER_ONLY, USERS, ServiceError, require
from hearth.broker.payloads import no_payload
from hearth.broker.service import Service
from tests.hearth.broker.wire import GUEST, OWNER, Client, ask, text_of

if TYPE_CHECKING:
    from hearth.broker.router import Router


def test_an_owners_blanks_are_filled(client: Client, other: Client) -> None:
    other.serve("svc")
    client.say(ask("svc.x"))
    assert (other.got[0].userid, other.got[0].rolemask) == (OWNER, 5)


@pytest.mark.parametrize(
    ("claimed", "stamped"), [((1234, 2), (1234, 2)), ((1234, 0), (1234, 5)), ((0xFFFFFFFF, 2), (OWNER, 2))]
)
def test_an_owner_may_claim_to_be_somebody(
    client: Client, other: Client, claimed: tuple[int, int], stamped: tuple[int, int]
) -> None:
    other.serve("svc")
    client.say(ask("svc.x", userid=claimed[0], rolemask=claimed[1]))
    assert (other.got[0].userid, other.got[0].rolemask) == stamped


def test_a_guest_claims_in_vain(client: Client, guest: Client) -> None:
    client.serve("svc")
    guest.say(ask("svc.x", userid=OWNER, rolemask=FLUX_ROLE_ALL))
    assert (client.got[0].userid, client.got[0].rolemask) == (GUEST, 6)


def test_answers_are_stamped_too(client: Client, guest: Client) -> None:
    guest.serve(f"{GUEST}-svc")
    client.say(ask(f"{GUEST}-svc.x"))
    request = guest.got[0]
    request.type, request.userid, request.rolemask = 2, OWNER, 5
    guest.say(request)
    assert (client.got[0].userid, client.got[0].rolemask) == (GUEST, 6)


@pytest.mark.parametrize(("topic", "payload"), [("attr.set", {"name": "test.a", "value": "b"}), ("attr.rm", {})])
def test_what_is_for_the_owner_is_refused_to_a_guest(guest: Client, topic: str, payload: object) -> None:
    answer = guest.ask(topic, payload)
    assert (answer.aux1, text_of(answer)) == (errno.EPERM, "Request requires owner credentials")


def test_an_owner_who_claims_to_be_a_guest_is_treated_as_one(client: Client) -> None:
    answer = client.ask("attr.set", {"name": "test.a", "value": "b"}, userid=GUEST, rolemask=FLUX_ROLE_USER)
    assert answer.aux1 == errno.EPERM


def test_access_is_checked_before_the_payload(guest: Client) -> None:
    assert guest.ask("attr.set", b"no json").aux1 == errno.EPERM


@pytest.mark.parametrize("topic", ["broker.ping", "attr.get", "attr.list", "event.publish", "event.subscribe"])
def test_what_is_for_users_is_not_refused_to_a_guest(guest: Client, topic: str) -> None:
    assert guest.ask(topic, {"name": "rank"}).aux1 != errno.EPERM


def test_a_role_too_little_says_so() -> None:
    packet = ask("a.b", rolemask=8)
    with pytest.raises(ServiceError) as refused:
        require(packet, USERS)
    assert (refused.value.errnum, refused.value.text) == (
        errno.EPERM,
        "Request rejected due to insufficient privilege",
    )
    for role in (FLUX_ROLE_OWNER, FLUX_ROLE_USER):
        packet.rolemask = role
        require(packet, USERS)
    packet.rolemask = FLUX_ROLE_OWNER
    require(packet, OWNER_ONLY)
    require(packet, 8)


@pytest.mark.parametrize(
    ("name", "errnum"),
    [(f"{GUEST}-svc", 0), (f"{GUEST}-", 0), ("svc", errno.EPERM), (f"{GUEST}svc", errno.EPERM), ("", errno.EPERM)],
)
def test_a_guest_serves_under_its_own_number_only(guest: Client, name: str, errnum: int) -> None:
    assert guest.ask("service.add", {"service": name}).aux1 == errnum


def test_a_bug_in_a_method_is_its_callers_error_only(
    client: Client, router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Service):
        def __init__(self) -> None:
            super().__init__(router, "broken")
            self.add_method("divide", no_payload, lambda *_: 1 // 0)

    Broken()
    answer = client.ask("broken.divide", {})
    assert (answer.aux1, text_of(answer)) == (errno.EIO, "internal error in broken.divide; the log has it")
    assert "ZeroDivisionError" in caplog.text
    assert client.ask("broken.ping", {}).aux1 == 0
