"""The service `kvs-watch`: which commits a watch answers to."""

from __future__ import annotations

import base64
import errno
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import (
    FLUX_KVS_APPEND,
    FLUX_KVS_READDIR,
    FLUX_KVS_STREAM,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    FLUX_KVS_WATCH_UNIQ,
    FLUX_MSGFLAG_NORESPONSE,
    FLUX_MSGFLAG_STREAMING,
)
from hearth.kvs import watches
from tests.hearth.broker.wire import ask, json_of, text_of
from tests.hearth.kvs.trees import directory, op_json, val

if TYPE_CHECKING:
    from flux.packet import Packet
    from tests.hearth.kvs.conftest import KvsClient

END = errno.ENODATA
SENTINEL = "sentinel"
EMPTY = "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91"


class Store:
    """Another client, that writes."""

    def __init__(self, client: KvsClient) -> None:
        self._client = client

    def commit(self, *ops: dict[str, Any], namespace: str = "primary") -> None:
        assert self._client.ask("kvs.commit", {"ops": ops, "namespace": namespace, "flags": 0}).aux1 == 0

    def put(self, key: str, data: bytes, flags: int = 0, namespace: str = "primary") -> None:
        self.commit(op_json(key, val(data), flags), namespace=namespace)

    def unlink(self, key: str) -> None:
        self.commit(op_json(key, None))

    def create(self, namespace: str) -> None:
        create = {"namespace": namespace, "rootref": EMPTY, "owner": -1, "flags": 0}
        assert self._client.ask("kvs.namespace-create", create).aux1 == 0

    def remove(self, namespace: str) -> None:
        assert self._client.ask("kvs.namespace-remove", {"namespace": namespace}).aux1 == 0


@pytest.fixture
def store(other: KvsClient) -> Store:
    return Store(other)


def watch(
    client: KvsClient,
    key: str,
    flags: int = FLUX_KVS_WATCH,
    *,
    namespace: str = "primary",
    matchtag: int = 7,
    message_flags: int = FLUX_MSGFLAG_STREAMING,
) -> list[object]:
    """What comes at once."""
    request = ask("kvs-watch.lookup", {"key": key, "namespace": namespace, "flags": flags}, matchtag)
    request.flags |= message_flags
    client.say(request)
    return heard(client)


def heard(client: KvsClient) -> list[object]:
    """The answers since the last time: values, errnos, sentinels."""
    return [_said(packet) for packet in client.heard()]


def _said(answer: Packet) -> object:
    if answer.aux1:
        return answer.aux1
    if answer.payload is None:
        return SENTINEL
    tree = json_of(answer)["val"]
    return base64.b64decode(tree["data"]) if tree["type"] == "val" else tree


def test_a_watch_hears_of_every_commit_that_names_the_key(client: KvsClient, store: Store) -> None:
    store.put("a.k", b"1")
    assert watch(client, "a.k") == [b"1"]
    for data in (b"2", b"2"):
        store.put(".a..k.", data)
        assert heard(client) == [data]
    store.put("a.other", b"3")
    assert heard(client) == []
    store.unlink("a.k")
    assert heard(client) == [errno.ENOENT]
    store.put("a.k", b"4")
    assert heard(client) == []


def test_each_commit_of_a_batch_is_heard(client: KvsClient, other: KvsClient, store: Store) -> None:
    store.put("k", b"0")
    watch(client, "k")
    ops = [[op_json("k", val(b"%d" % number))] for number in range(3)]
    other.say(*(ask("kvs.commit", {"ops": each, "namespace": "primary", "flags": 0}) for each in ops))
    assert heard(client) == [b"0", b"1", b"2"]


def test_a_watch_of_a_missing_key_ends_at_once(client: KvsClient) -> None:
    assert watch(client, "none") == [errno.ENOENT]


def test_a_watch_may_wait_for_its_key(client: KvsClient, store: Store) -> None:
    assert watch(client, "a.k", FLUX_KVS_WATCH | FLUX_KVS_WAITCREATE) == []
    store.put("a.k", b"1")
    assert heard(client) == [b"1"]
    store.unlink("a.k")
    assert heard(client) == [errno.ENOENT]


def test_waiting_alone_is_over_with_the_first_value(client: KvsClient, store: Store) -> None:
    assert watch(client, "k", FLUX_KVS_WAITCREATE, message_flags=0) == []
    assert watch(client, "k", FLUX_KVS_WAITCREATE, matchtag=8) == []
    store.commit(op_json("k", val(b"1")))
    assert sorted(heard(client), key=str) == sorted([b"1", b"1", END], key=str)
    store.put("k", b"2")
    assert heard(client) == []


def test_a_watch_may_wait_for_its_namespace(client: KvsClient, store: Store) -> None:
    assert watch(client, "k", namespace="n") == [errno.ENOTSUP]
    assert watch(client, "k", FLUX_KVS_WATCH | FLUX_KVS_WAITCREATE, namespace="n") == []
    store.create("n")
    assert heard(client) == []
    store.put("k", b"1", namespace="n")
    assert heard(client) == [b"1"]
    store.remove("n")
    assert heard(client) == [errno.ENOTSUP]


def test_uniq_hears_of_changes_only(client: KvsClient, store: Store) -> None:
    store.put("k", b"1")
    assert watch(client, "k", FLUX_KVS_WATCH | FLUX_KVS_WATCH_UNIQ) == [b"1"]
    for data, said in ((b"1", []), (b"2", [b"2"]), (b"2", []), (b"1", [b"1"])):
        store.put("k", data)
        assert heard(client) == said


def test_full_notices_what_happens_above_the_key(client: KvsClient, store: Store) -> None:
    store.put("a.b.k", b"1")
    watch(client, "a.b.k", FLUX_KVS_WATCH, matchtag=1)
    assert watch(client, "a.b.k", FLUX_KVS_WATCH | FLUX_KVS_WATCH_FULL, matchtag=2) == [b"1"]
    store.commit(op_json("a", directory(b=directory(k=val(b"2")))))
    assert heard(client) == [b"2"]
    store.put("x", b"1")
    assert heard(client) == []
    store.unlink("a")
    assert heard(client) == [errno.ENOENT]


def test_append_hears_each_piece(client: KvsClient, store: Store) -> None:
    store.put("log", b"one", FLUX_KVS_APPEND)
    store.put("log", b"two", FLUX_KVS_APPEND)
    assert watch(client, "log", FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND) == [b"one", b"two"]
    piece = op_json("log", val(b"three"), FLUX_KVS_APPEND)
    store.commit(piece, op_json("log", val(b"four"), FLUX_KVS_APPEND))
    assert heard(client) == [b"three", b"four"]
    store.put("log", b"new")
    assert heard(client) == [errno.EINVAL]


@pytest.mark.parametrize("value", [b"one", b"other", b""])
def test_overwriting_what_is_followed_piece_by_piece_is_an_error(client: KvsClient, store: Store, value: bytes) -> None:
    store.put("log", b"one", FLUX_KVS_APPEND)
    watch(client, "log", FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND)
    store.put("log", value)
    (end,) = client.heard()
    assert (end.aux1, text_of(end)) == (errno.EINVAL, "value of key watched with WATCH_APPEND overwritten")


def test_a_sentinel_stands_behind_the_first_values(client: KvsClient, store: Store) -> None:
    store.put("log", b"one", FLUX_KVS_APPEND)
    store.put("log", b"two", FLUX_KVS_APPEND)
    flags = FLUX_KVS_WATCH | FLUX_KVS_WATCH_INITIAL_SENTINEL
    assert watch(client, "log", flags, matchtag=1) == [b"onetwo", SENTINEL]
    assert watch(client, "log", flags | FLUX_KVS_WATCH_APPEND, matchtag=2) == [b"one", b"two", SENTINEL]
    store.put("log", b"three", FLUX_KVS_APPEND)
    assert sorted(heard(client), key=str) == [b"onetwothree", b"three"]


def test_a_stream_ends_behind_the_last_piece(client: KvsClient, store: Store) -> None:
    store.put("log", b"one", FLUX_KVS_APPEND)
    store.put("log", b"two", FLUX_KVS_APPEND)
    assert watch(client, "log", FLUX_KVS_STREAM) == [b"one", b"two", END]
    assert watch(client, "later", FLUX_KVS_STREAM | FLUX_KVS_WAITCREATE) == []
    store.put("later", b"1")
    assert heard(client) == [b"1", END]


def test_a_directory_can_be_watched(client: KvsClient, store: Store) -> None:
    store.put("d.x", b"1")
    assert watch(client, "d", FLUX_KVS_WATCH) == [errno.EISDIR]
    flags = FLUX_KVS_WATCH | FLUX_KVS_WATCH_FULL | FLUX_KVS_READDIR
    assert watch(client, "d", flags) == [directory(x=val(b"1"))]
    store.put("d.y", b"2")
    assert heard(client) == [directory(x=val(b"1"), y=val(b"2"))]


@pytest.mark.parametrize("flags", [FLUX_KVS_WATCH, FLUX_KVS_STREAM])
def test_more_than_one_answer_needs_a_streaming_request(client: KvsClient, flags: int) -> None:
    refusal = client.ask("kvs-watch.lookup", {"key": "k", "namespace": "primary", "flags": flags})
    text = "KVS watch request rejected without streaming RPC flag"
    assert (refusal.aux1, text_of(refusal)) == (errno.EPROTO, text)


def test_nobody_watches_and_streams(client: KvsClient) -> None:
    request = ask("kvs-watch.lookup", {"key": "k", "namespace": "primary", "flags": FLUX_KVS_WATCH | FLUX_KVS_STREAM})
    request.flags |= FLUX_MSGFLAG_STREAMING
    client.say(request)
    (refusal,) = client.heard()
    assert (refusal.aux1, text_of(refusal)) == (errno.EINVAL, "Cannot KVS watch and stream at the same time")


def cancel(client: KvsClient, matchtag: int) -> None:
    client.say(ask("kvs-watch.cancel", {"matchtag": matchtag}, 0, flags=FLUX_MSGFLAG_NORESPONSE))


def test_a_cancelled_watch_ends_with_nodata(client: KvsClient, other: KvsClient, store: Store) -> None:
    store.put("k", b"1")
    watch(client, "k", matchtag=7)
    watch(client, "k", matchtag=8)
    cancel(other, 7)
    cancel(client, 9)
    assert heard(client) == []
    cancel(client, 7)
    (end,) = client.heard()
    assert (end.aux1, end.aux2) == (END, 7)
    store.put("k", b"2")
    assert [packet.aux2 for packet in client.heard()] == [8]


def test_a_watch_goes_with_its_connection(client: KvsClient, other: KvsClient, store: Store) -> None:
    store.put("k", b"1")
    watch(client, "k")
    assert json_of(other.ask("kvs.stats-get"))["watches"] == 1
    client.hang_up()
    assert json_of(other.ask("kvs.stats-get"))["watches"] == 0


def test_there_is_a_largest_number_of_watches(client: KvsClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "WATCHES_MAX", 1)
    store.put("k", b"1")
    assert watch(client, "k", matchtag=1) == [b"1"]
    assert watch(client, "k", matchtag=2) == [errno.EAGAIN]
    cancel(client, 1)
    assert heard(client) == [END]
    assert watch(client, "k", matchtag=2) == [b"1"]
