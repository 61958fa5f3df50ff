"""Streaming requests are remembered until they are taken, or their sender is gone."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING, FLUX_ROLE_OWNER, FLUX_ROLE_USER
from hearth.broker.credentials import ServiceError
from hearth.broker.streams import Streams
from tests.hearth.broker.wire import GUEST, OWNER, ask

if TYPE_CHECKING:
    from flux.packet import Packet


def stream(sender: str, matchtag: int = 1, userid: int = OWNER) -> Packet:
    return ask("x.y", {}, matchtag, flags=FLUX_MSGFLAG_STREAMING, routes=["hop", sender], userid=userid)


def test_a_stream_is_taken_by_its_sender_and_tag_once() -> None:
    streams = Streams()
    request = stream("a")
    streams.open(request)
    assert streams.take(stream("b"), 1) is None
    assert streams.take(stream("a"), 2) is None
    assert streams.take(stream("a", 9), 1) is request
    assert streams.take(stream("a"), 1) is None


def test_the_owner_ends_any_stream_and_a_user_its_own() -> None:
    streams = Streams()
    notice = ask("x.disconnect", routes=["a"], userid=GUEST, rolemask=FLUX_ROLE_USER)
    streams.open(stream("a", 1))
    streams.open(stream("a", 2, GUEST))
    streams.open(stream("b", 3, GUEST))
    streams.drop(notice)
    assert [request.aux2 for request in streams] == [1, 3]
    notice.rolemask = FLUX_ROLE_OWNER
    streams.drop(notice)
    assert [request.aux2 for request in streams] == [3]


def test_what_takes_one_answer_is_no_stream() -> None:
    with pytest.raises(ServiceError) as refused:
        Streams().open(ask("x.y", routes=["a"]))
    assert refused.value.errnum == errno.EPROTO


def test_streams_are_bounded_and_keep_no_payload() -> None:
    streams = Streams()
    for number in range(4096):
        streams.open(stream("a", number))
    assert all(request.payload is None for request in streams)
    with pytest.raises(ServiceError) as refused:
        streams.open(stream("a", 5000))
    assert refused.value.errnum == errno.EAGAIN


def test_streams_may_be_taken_out_on_the_way() -> None:
    streams = Streams()
    streams.open(stream("a", 1))
    streams.open(stream("a", 2))
    for request in streams:
        streams.take(request, request.aux2)
    assert len(streams) == 0


def test_streams_are_found_by_their_subject() -> None:
    streams = Streams()
    streams.open(stream("a", 1), "x")
    streams.open(stream("a", 2), "y")
    assert [request.aux2 for request in streams.about("y")] == [2]
    assert streams.about("") == []


def test_nobody_can_name_the_stream_of_another_connection() -> None:
    """Who brought the victim's id as its own first address took its stream away, or put another in its place."""
    streams = Streams()
    victims = stream("victim")
    streams.open(victims)
    forged = ask("x.y", {}, 1, flags=FLUX_MSGFLAG_STREAMING, routes=["attacker", "victim"], userid=GUEST)
    assert streams.take(forged, 1) is None
    streams.open(forged)
    assert streams.take(victims, 1) is victims


def test_one_user_leaves_room_for_others() -> None:
    streams = Streams()
    for number in range(4096):
        streams.open(stream("a", number, GUEST))
    streams.open(stream("b", 1, OWNER))
    with pytest.raises(ServiceError):
        streams.open(stream("c", 1, GUEST))
    streams.take(stream("a"), 7)
    streams.open(stream("c", 1, GUEST))


def test_a_tag_used_again_takes_no_more_room() -> None:
    streams = Streams()
    for _ in range(5000):
        streams.open(stream("a"))
    assert len(streams) == 1


def test_a_stack_of_addresses_that_is_no_way_is_refused() -> None:
    with pytest.raises(ServiceError) as refused:
        Streams().open(ask("x.y", {}, flags=FLUX_MSGFLAG_STREAMING, routes=["me", "x" * 4096]))
    assert refused.value.errnum == errno.EINVAL
