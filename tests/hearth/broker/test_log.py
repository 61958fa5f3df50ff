"""The log: what is kept, who sees it, who may follow."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from flux.constants import FLUX_MSGFLAG_NORESPONSE, FLUX_MSGFLAG_STREAMING
from hearth.broker.attribute_table import CONSTANT, PLAIN
from hearth.broker.attributes import Attributes
from hearth.broker.log import LogService
from hearth.broker.log_ring import LINE_MAX_BYTES, LINES_MAX, LogLine, LogRing, parse_line, severity_of, text_of
from tests.hearth.broker.daemon import running_daemon, wait_until
from tests.hearth.broker.wire import Client, ask, json_of
from tests.hearth.broker.wire import text_of as error_of

if TYPE_CHECKING:
    from hearth.broker.router import Router

HEADER = b"1 2026-01-01T00:00:00.123456Z 0 python3 1234 - - "
INFO = b"<48>" + HEADER + b"hello"
ERROR = b"<24>" + HEADER + b"it broke"


class Log:
    """The service, and the lines that it showed."""

    def __init__(self, router: Router) -> None:
        self.shown: list[str] = []
        self.attributes = Attributes(CONSTANT, PLAIN)
        LogService(router, self.attributes, self.shown.append)


@pytest.fixture(autouse=True)
def log(router: Router) -> Log:
    return Log(router)


def append(client: Client, *lines: bytes) -> None:
    client.say(*(ask("log.append", line, 0) for line in lines))


def dmesg(client: Client, matchtag: int = 1, **wanted: object) -> list[tuple[int, bytes | None]]:
    """What comes at once: errnum and payload of each answer."""
    client.got.clear()
    client.say(ask("log.dmesg", wanted, matchtag, flags=FLUX_MSGFLAG_STREAMING))
    return heard(client)


def heard(client: Client) -> list[tuple[int, bytes | None]]:
    got = [(packet.aux1, packet.payload) for packet in client.got]
    client.got.clear()
    return got


END = (errno.ENODATA, None)


def test_what_was_appended_is_read_back_in_order(client: Client) -> None:
    append(client, INFO, ERROR)
    assert client.got == []
    assert dmesg(client, follow=False) == [(0, INFO + b"\0"), (0, ERROR + b"\0"), END]


def test_an_append_with_a_tag_is_answered(client: Client) -> None:
    answer = client.ask("log.append", INFO, 5)
    assert (answer.aux1, answer.payload) == (0, None)


def test_an_append_of_nothing_is_refused(client: Client) -> None:
    assert client.ask("log.append").aux1 == errno.EPROTO


def test_a_follower_gets_what_comes_until_it_cancels(client: Client, other: Client) -> None:
    append(other, INFO)
    assert dmesg(client, 7, follow=True) == [(0, INFO + b"\0")]
    append(other, ERROR)
    assert heard(client) == [(0, ERROR + b"\0")]
    client.say(ask("log.cancel", {"matchtag": 7}, 0, flags=FLUX_MSGFLAG_NORESPONSE))
    assert heard(client) == [END]
    append(other, INFO)
    assert heard(client) == []


def test_without_backlog_only_what_comes_is_seen(client: Client) -> None:
    append(client, INFO)
    assert dmesg(client, follow=True, nobacklog=True) == []
    assert dmesg(client, 2, follow=False, nobacklog=True) == [END]


@pytest.mark.parametrize("matchtag", [1, 8])
def test_cancelling_what_another_follows_does_nothing(client: Client, other: Client, matchtag: int) -> None:
    dmesg(client, 1, follow=True)
    other.say(ask("log.cancel", {"matchtag": matchtag}, 0, flags=FLUX_MSGFLAG_NORESPONSE))
    assert heard(client) == heard(other) == []
    append(other, INFO)
    assert heard(client) == [(0, INFO + b"\0")]


def test_a_follower_that_left_is_forgotten(client: Client, other: Client) -> None:
    dmesg(client, follow=True)
    dmesg(other, follow=True)
    client.hang_up()
    append(other, INFO)
    assert heard(client) == []
    assert heard(other) == [(0, INFO + b"\0")]


def test_dmesg_is_streaming_or_refused(client: Client) -> None:
    assert client.ask("log.dmesg", {"follow": False}).aux1 == errno.EPROTO


def test_a_cleared_log_is_empty_and_still_counts(client: Client) -> None:
    append(client, INFO, INFO)
    assert client.ask("log.clear").aux1 == 0
    assert dmesg(client, follow=False) == [END]
    append(client, ERROR)
    assert json_of(client.ask("log.stats-get")) == {"ring-used": 1, "count": 3, "local": 3, "remote": 0}


@pytest.mark.parametrize("method", ["append", "dmesg", "clear", "cancel", "setattr", "stats-get"])
def test_the_log_is_the_owners(guest: Client, method: str) -> None:
    answer = guest.ask(f"log.{method}", {}, flags=FLUX_MSGFLAG_STREAMING)
    assert (answer.aux1, error_of(answer)) == (errno.EPERM, "Request requires owner credentials")


def test_severe_lines_are_shown_to_people(client: Client, log: Log) -> None:
    append(client, INFO, ERROR)
    assert log.shown == ["python3.err[0]: it broke"]


def test_how_severe_is_for_the_owner_to_say(client: Client, log: Log) -> None:
    assert client.ask("log.setattr", {"name": "log-stderr-level", "value": "6"}).aux1 == 0
    append(client, INFO)
    log.attributes.remove("log-stderr-level")
    append(client, ERROR)
    assert log.shown == ["python3.info[0]: hello"]


def test_the_log_refuses_what_is_no_level_and_what_is_not_its_own(client: Client) -> None:
    answer = client.ask("log.setattr", {"name": "log-stderr-level", "value": "8"})
    assert (answer.aux1, error_of(answer)) == (errno.EINVAL, "invalid level")
    assert client.ask("log.setattr", {"name": "test.a", "value": "8"}).aux1 == errno.ENOENT


def test_the_ring_keeps_the_last_lines() -> None:
    ring = LogRing()
    for number in range(LINES_MAX + 2):
        ring.append(b"%d" % number)
    assert (len(ring), ring.count) == (LINES_MAX, LINES_MAX + 2)
    assert ring.lines()[0] == b"2"
    assert ring.lines()[-1] == b"%d" % (LINES_MAX + 1)


def test_a_line_is_kept_without_its_end_and_only_so_long() -> None:
    ring = LogRing()
    assert ring.append(b"line\0\0") == b"line"
    assert ring.append(b"x" * (LINE_MAX_BYTES + 1)) == b"x" * LINE_MAX_BYTES


@pytest.mark.parametrize(("line", "severity"), [(INFO, 6), (ERROR, 3), (b"<999>" + HEADER, 7), (b"what?", 5), (b"", 5)])
def test_the_severity_is_in_front(line: bytes, severity: int) -> None:
    assert severity_of(line) == severity


def test_a_line_that_is_none_is_read_as_it_is() -> None:
    assert text_of(b"what\xff") == "what\ufffd"


def test_a_line_can_fake_no_other_nor_write_over_one() -> None:
    faked = b"<24>1 2026-01-01T00:00:00Z 0 a\x1b[2J 1 - - one\r\nhearth.crit[0]: two\xe2\x80\xa8three\n"
    assert text_of(faked) == r"a\x1b[2J.err[0]: one\r\nhearth.crit[0]: two\u2028three"
    assert text_of(b"no header\nat all") == r"no header\nat all"


def test_a_line_is_taken_apart() -> None:
    assert parse_line(ERROR) == LogLine(3, "2026-01-01T00:00:00.123456Z", "0", "python3", "1234", b"it broke")
    assert parse_line(b"what?") == LogLine(5, None, None, None, None, b"what?")
    assert text_of(ERROR) == "python3.err[0]: it broke"


def test_a_severe_line_appears_on_the_daemons_stderr() -> None:
    with running_daemon() as daemon, daemon.connect() as client:
        client.say(ask("log.append", ERROR, 0), ask("log.append", INFO, 0))
        wait_until(lambda: client.is_served() and "python3.err[0]: it broke\n" in daemon.log)
        assert "hello" not in daemon.log
