"""The owner ends the instance with a request, and sees how it goes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import FLUX_MSGFLAG_STREAMING
from hearth.broker.shutdown import ShutdownService
from tests.hearth.broker.daemon import WAIT_S, Daemon, RawClient, running_daemon
from tests.hearth.broker.wire import Client, ask, json_of

if TYPE_CHECKING:
    from hearth.broker.router import Router

LINE = b"<%d>1 2026-01-01T00:00:00.123456Z 0 hearth 1234 - - draining"
INFO, DEBUG = LINE % 48, LINE % 56


class Shutdown:
    """The service, and how often the end was asked for."""

    def __init__(self, router: Router) -> None:
        self.begun = 0
        self.service = ShutdownService(router, self._begin)

    def _begin(self) -> None:
        self.begun += 1


@pytest.fixture
def shutdown(router: Router) -> Shutdown:
    return Shutdown(router)


def start(client: Client, matchtag: int = 1, loglevel: int = 6) -> None:
    client.say(ask("shutdown.start", {"loglevel": loglevel}, matchtag, flags=FLUX_MSGFLAG_STREAMING))


def test_who_streams_sees_lines_as_severe_as_it_asked_for_and_the_end(client: Client, shutdown: Shutdown) -> None:
    start(client)
    shutdown.service.show(INFO)
    shutdown.service.show(DEBUG)
    shutdown.service.finish()
    shutdown.service.finish()
    line, end = client.got
    assert json_of(line) == {"log": "hearth.info[0]: draining\n"}
    assert (end.aux1, end.aux2, end.payload) == (errno.ENODATA, 1, None)
    assert shutdown.begun == 1


def test_who_does_not_stream_is_answered_at_once(client: Client, shutdown: Shutdown) -> None:
    answer = client.ask("shutdown.start", {"loglevel": 6})
    assert (answer.aux1, answer.payload, shutdown.begun) == (0, None, 1)
    shutdown.service.show(INFO)
    shutdown.service.finish()
    assert not client.got


def test_who_left_sees_no_more_and_others_do(client: Client, other: Client, shutdown: Shutdown) -> None:
    start(client)
    start(other)
    client.hang_up()
    shutdown.service.show(INFO)
    assert (len(client.got), len(other.got)) == (0, 1)


def test_a_guest_ends_nothing(guest: Client, shutdown: Shutdown) -> None:
    assert guest.ask("shutdown.start", {"loglevel": 6}).aux1 == errno.EPERM
    assert guest.ask("shutdown.start", {}).aux1 == errno.EPERM
    assert shutdown.begun == 0


def until_the_end(client: RawClient, matchtags: set[int]) -> list[tuple[int, int, Any]]:
    """What comes until each of the requests is answered with an error: tag, errno, payload."""
    heard = []
    while matchtags:
        answer = client.hear()
        heard.append((answer.aux2, answer.aux1, None if answer.aux1 else json_of(answer)))
        if answer.aux1:
            matchtags.discard(answer.aux2)
    return heard


def has_ended(daemon: Daemon) -> bool:
    return daemon.process.wait(WAIT_S) == 0


def test_the_daemon_ends_as_with_a_signal_and_tells_who_watches() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        client.say(ask("state-machine.monitor", {"final": 8}, 1, flags=FLUX_MSGFLAG_STREAMING))
        client.say(ask("shutdown.start", {"loglevel": 6}, 2, flags=FLUX_MSGFLAG_STREAMING))
        heard = until_the_end(client, {1, 2})
        assert client.is_cut()
        assert has_ended(daemon)
    states = [payload["state"] for tag, _, payload in heard if tag == 1 and payload]
    assert states == [5, 6, 7, 8]
    assert (1, errno.ENODATA, None) in heard
    assert heard[-1] == (2, errno.ENODATA, None)
    assert any("draining" in payload["log"] for tag, _, payload in heard if tag == 2 and payload)


def test_a_client_that_asks_in_the_background_may_leave() -> None:
    with running_daemon() as daemon:
        with daemon.connect() as client:
            assert client.ask("shutdown.start", {"loglevel": 6}).aux1 == 0
        assert has_ended(daemon)
