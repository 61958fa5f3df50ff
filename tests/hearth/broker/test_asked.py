"""What a guest may answer."""

from __future__ import annotations

from flux import packet as wire
from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from hearth.broker.asked import Asked
from tests.hearth.broker.wire import ask


def test_a_plain_request_is_answered_once_for_each_time_it_was_asked() -> None:
    asked, request = Asked(), ask("svc.x", routes=["a"])
    asked.note(request)
    asked.note(request)
    answer = wire.response_to(request)
    assert [asked.allows(answer) for _ in range(3)] == [True, True, False]


def test_a_stream_is_answered_until_its_error() -> None:
    asked, request = Asked(), ask("svc.x", routes=["a"], flags=FLUX_MSGFLAG_STREAMING)
    asked.note(request)
    more, end = wire.response_to(request), wire.response_to(request, None, 61)
    assert [asked.allows(answer) for answer in (more, more, end, more)] == [True, True, True, False]


def test_another_way_or_another_tag_was_not_asked() -> None:
    asked = Asked()
    asked.note(ask("svc.x", matchtag=1, routes=["a"]))
    for stranger in (ask("svc.x", matchtag=2, routes=["a"]), ask("svc.x", matchtag=1, routes=["b"])):
        assert not asked.allows(wire.response_to(stranger))


def test_what_wants_no_answer_may_not_be_answered() -> None:
    asked, request = Asked(), ask("svc.x", routes=["a"], flags=FLUX_MSGFLAG_NORESPONSE)
    asked.note(request)
    assert not asked.allows(wire.response_to(request))


def test_with_too_many_unanswered_the_oldest_is_forgotten() -> None:
    asked = Asked()
    requests = [ask("svc.x", matchtag=tag, routes=["a" * 1000]) for tag in range(1, 5002)]
    for request in requests:
        asked.note(request)
    assert len(asked) == 4096
    assert not asked.allows(wire.response_to(requests[0]))
    assert asked.allows(wire.response_to(requests[-1]))
