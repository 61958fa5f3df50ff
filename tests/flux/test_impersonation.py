"""FLUX_HANDLE_USERID and FLUX_HANDLE_ROLEMASK."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import pytest

import flux
import flux.aio
from flux.constants import FLUX_ROLE_LOCAL, FLUX_ROLE_NONE, FLUX_ROLE_OWNER, FLUX_ROLE_USER, FLUX_USERID_UNKNOWN
from flux.message import Message

if TYPE_CHECKING:
    from tests.flux.conftest import Peer

OURS = os.getuid(), FLUX_ROLE_OWNER | FLUX_ROLE_LOCAL


@pytest.mark.parametrize(
    ("userid", "rolemask", "seen"),
    [
        (None, None, OURS),
        ("9999", None, (9999, OURS[1])),
        (None, "0x2", (OURS[0], FLUX_ROLE_USER)),
        ("9999", "2", (9999, FLUX_ROLE_USER)),
        ("0", "0XF", (0, 15)),
        ("9999", "0", (9999, OURS[1])),
    ],
)
def test_a_broker_takes_its_owner_for_who_he_says_he_is(
    broker: str,
    monkeypatch: pytest.MonkeyPatch,
    userid: str | None,
    rolemask: str | None,
    seen: tuple[int, int],
) -> None:
    for name, value in (("FLUX_HANDLE_USERID", userid), ("FLUX_HANDLE_ROLEMASK", rolemask)):
        if value is not None:
            monkeypatch.setenv(name, value)
    with flux.Flux(broker) as handle:
        answer = handle.rpc("broker.ping", {}).get()
        assert (answer["userid"], answer["rolemask"]) == seen


def test_an_owner_in_the_role_of_a_user_may_do_what_a_user_may(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_HANDLE_ROLEMASK", "0x2")
    with flux.Flux(broker) as handle:
        assert handle.attr_get("rank") == "0"
        with pytest.raises(PermissionError, match="EPERM: Operation not permitted"):
            handle.attr_set("test.guest", "1")
        with pytest.raises(PermissionError, match="Request requires owner credentials"):
            handle.rpc("attr.set", {"name": "test.guest", "value": "1"}).get()


def test_every_message_is_stamped_and_keeps_its_own_credentials(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_HANDLE_USERID", "9999")
    monkeypatch.setenv("FLUX_HANDLE_ROLEMASK", "2")
    with peer.connect() as handle:
        event = handle.event_create("a.b", {"x": 1})
        handle.send(event)
        handle.rpc("s.m")
        for _ in range(2):
            sent = peer.read()
            assert (sent.userid, sent.rolemask) == (9999, FLUX_ROLE_USER)
    assert (event.userid, event.rolemask) == (FLUX_USERID_UNKNOWN, FLUX_ROLE_NONE)


def test_what_is_not_stamped_stays_as_the_message_has_it(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_HANDLE_ROLEMASK", "8")
    with peer.connect() as handle:
        request = Message()
        request.topic, request.userid, request.rolemask = "a.b", 42, 4
        handle.send(request)
        sent = peer.read()
        assert (sent.userid, sent.rolemask) == (42, 8)


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("FLUX_HANDLE_USERID", "root", 2**32 - 2),
        ("FLUX_HANDLE_USERID", "", 2**32 - 2),
        ("FLUX_HANDLE_USERID", "-1", 2**32 - 2),
        ("FLUX_HANDLE_USERID", "4294967295", 2**32 - 2),
        ("FLUX_HANDLE_ROLEMASK", "owner", 2**32 - 1),
        ("FLUX_HANDLE_ROLEMASK", "0x100000000", 2**32 - 1),
    ],
)
def test_what_is_no_such_number_is_refused_with_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, most: int
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match=name) as raised:
        flux.Flux("loop://")
    want = f"Unable to connect to Flux: {name}: got {value!r}, want a number from 0 to {most}"
    assert (raised.value.errno, raised.value.strerror) == (errno.EINVAL, want)


def test_a_handle_of_asyncio_says_the_same(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ping() -> tuple[int, int]:
        async with flux.aio.Flux(broker) as handle:
            answer = await handle.rpc("broker.ping", {})
            return answer["userid"], answer["rolemask"]

    monkeypatch.setenv("FLUX_HANDLE_USERID", "9999")
    monkeypatch.setenv("FLUX_HANDLE_ROLEMASK", "2")
    assert asyncio.run(ping()) == (9999, FLUX_ROLE_USER)
    monkeypatch.setenv("FLUX_HANDLE_USERID", "root")
    with pytest.raises(OSError, match="FLUX_HANDLE_USERID"):
        asyncio.run(ping())
