"""The service `kvs`: what it answers, when, and to whom."""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from flux.constants import (
    FLUX_KVS_READDIR,
    FLUX_MSGFLAG_PRIVATE,
    FLUX_MSGTYPE_EVENT,
)
from hearth.broker.router import Router
from hearth.kvs.batch import Batch
from hearth.kvs.namespaces import Namespaces
from hearth.kvs.service import KvsService
from hearth.kvs.store import Store
from hearth.kvs.watch_service import KvsWatchService
from tests.hearth.broker.wire import BROKER, GUEST, OWNER, ask, json_of, text_of
from tests.hearth.kvs.conftest import KvsClient
from tests.hearth.kvs.trees import directory, dirref, op_json, symlink, val

if TYPE_CHECKING:
    from pathlib import Path

    from flux.packet import Packet

EMPTY = "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91"


def commit(*ops: dict[str, Any], namespace: str = "primary", flags: int = 0, matchtag: int = 1) -> Packet:
    return ask("kvs.commit", {"ops": list(ops), "namespace": namespace, "flags": flags}, matchtag)


def lookup(key: str, flags: int = 0, namespace: str = "primary", matchtag: int = 1) -> Packet:
    return ask("kvs.lookup", {"key": key, "flags": flags, "namespace": namespace}, matchtag)


def put(client: KvsClient, key: str, data: bytes, namespace: str = "primary") -> dict[str, Any]:
    client.say(commit(op_json(key, val(data)), namespace=namespace))
    answer: dict[str, Any] = json_of(client.got.pop())
    return answer


def answer(client: KvsClient, request: Packet) -> Packet:
    client.say(request)
    return client.got.pop()


def test_a_commit_answers_with_its_root_and_number(client: KvsClient) -> None:
    first, second = put(client, "k", b"1"), put(client, "k", b"2")
    assert (first["rootseq"], second["rootseq"]) == (1, 2)
    assert first["rootref"] != second["rootref"]
    assert json_of(answer(client, commit())) == {"rootseq": 3, "rootref": second["rootref"]}


def test_an_old_root_is_looked_at_by_its_reference(client: KvsClient) -> None:
    old = put(client, "k", b"1")
    put(client, "k", b"2")
    request = {"key": "k", "flags": 0, "rootdir": dirref(old["rootref"]), "rootseq": old["rootseq"]}
    assert json_of(client.ask("kvs.lookup", request)) == {"val": val(b"1")}
    assert json_of(client.ask("kvs.lookup-plus", request)) == {"val": val(b"1"), **old}


def test_lookup_plus_tells_of_a_missing_key_where_it_looked(client: KvsClient) -> None:
    where = put(client, "k", b"1")
    request = {"key": "none", "flags": 0, "namespace": "primary"}
    assert json_of(client.ask("kvs.lookup-plus", request)) == {"errno": errno.ENOENT, **where}
    assert client.ask("kvs.lookup-plus", {**request, "key": "."}).aux1 == errno.EISDIR


def test_getroot_tells_of_a_namespace(client: KvsClient) -> None:
    root = {"rootseq": 0, "rootref": EMPTY, "owner": OWNER, "flags": 0, "namespace": "primary"}
    assert json_of(client.ask("kvs.getroot", {"namespace": "primary"})) == root


def test_namespaces_come_and_go(client: KvsClient) -> None:
    create = {"namespace": "mine", "rootref": EMPTY, "owner": 7, "flags": 0}
    assert client.ask("kvs.namespace-create", create).aux1 == 0
    assert client.ask("kvs.namespace-create", create).aux1 == errno.EEXIST
    assert client.ask("kvs.namespace-create", {**create, "namespace": "me", "owner": -1}).aux1 == 0
    listed = json_of(client.ask("kvs.namespace-list"))["namespaces"]
    assert {(it["namespace"], it["owner"], it["flags"]) for it in listed} == {
        ("primary", OWNER, 0),
        ("mine", 7, 0),
        ("me", OWNER, 0),
    }
    put(client, "k", b"1", "mine")
    assert answer(client, lookup("k")).aux1 == errno.ENOENT
    assert client.ask("kvs.namespace-remove", {"namespace": "mine"}).aux1 == 0
    assert client.ask("kvs.namespace-remove", {"namespace": "mine"}).aux1 == 0
    assert client.ask("kvs.namespace-remove", {"namespace": "primary"}).aux1 == errno.ENOTSUP


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("lookup", {"key": "k", "flags": 0}),
        ("commit", {"ops": [], "flags": 0}),
        ("getroot", {}),
        ("wait-version", {"rootseq": 1}),
    ],
)
def test_a_namespace_that_is_not_there_is_not_supported(client: KvsClient, topic: str, payload: dict[str, Any]) -> None:
    assert client.ask(f"kvs.{topic}", {**payload, "namespace": "none"}).aux1 == errno.ENOTSUP


def test_who_waits_for_a_version_hears_when_it_is_there(client: KvsClient, other: KvsClient) -> None:
    wait = ask("kvs.wait-version", {"rootseq": 2, "namespace": "primary"}, 5)
    other.say(wait)
    put(client, "k", b"1")
    assert other.heard() == []
    root = put(client, "k", b"2")
    (told,) = other.heard()
    assert (told.aux2, json_of(told)) == (5, root)
    assert json_of(other.ask("kvs.wait-version", {"rootseq": 1, "namespace": "primary"})) == root


def test_who_waits_in_vain_is_told_or_forgotten(client: KvsClient, other: KvsClient) -> None:
    client.ask("kvs.namespace-create", {"namespace": "n", "rootref": EMPTY, "owner": -1, "flags": 0})
    other.say(ask("kvs.wait-version", {"rootseq": 9, "namespace": "n"}, 5))
    client.ask("kvs.namespace-remove", {"namespace": "n"})
    assert [(told.aux1, told.aux2) for told in other.heard()] == [(errno.ENOTSUP, 5)]
    other.say(ask("kvs.wait-version", {"rootseq": 1, "namespace": "primary"}, 6))
    other.hang_up()
    put(client, "k", b"1")
    assert other.heard() == []


def test_commits_and_namespaces_are_told_as_private_events(client: KvsClient, other: KvsClient) -> None:
    assert other.ask("event.subscribe", {"topic": "kvs."}).aux1 == 0
    client.ask("kvs.namespace-create", {"namespace": "n", "rootref": EMPTY, "owner": -1, "flags": 0})
    client.say(commit(op_json(".a..b", val(b"1")), op_json("c", None), namespace="n"))
    root = json_of(client.got.pop())
    client.ask("kvs.namespace-remove", {"namespace": "n"})
    events = other.heard()
    assert all(event.type == FLUX_MSGTYPE_EVENT and event.flags & FLUX_MSGFLAG_PRIVATE for event in events)
    assert [event.topic for event in events] == [f"kvs.namespace-n-{it}" for it in ("created", "setroot", "removed")]
    told = json_of(events[1])
    names = told.pop("names")
    assert all(isinstance(name, str) for name in names)
    assert told == {**root, "namespace": "n", "owner": OWNER, "keys": {"a.b": None, "c": None}}


def test_a_guest_may_nothing(client: KvsClient, guest: KvsClient) -> None:
    put(client, "k", b"1")
    for request in (lookup("k"), commit(), ask("kvs.namespace-list"), ask("kvs-watch.lookup", {})):
        refusal = answer(guest, request)
        assert (refusal.aux1, text_of(refusal)) == (errno.EPERM, "Request requires owner credentials")


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("kvs.lookup", None),
        ("kvs.lookup", b"{}"),
        ("kvs.lookup", b"[]\0"),
        ("kvs.lookup", b'{"key":"\xff"}\0'),
        ("kvs.lookup", b"[" * 100_000 + b"\0"),
        ("kvs.lookup", {"key": "k", "flags": 0}),
        ("kvs.lookup", {"key": "k", "namespace": "primary"}),
        ("kvs.lookup", {"key": 7, "flags": 0, "namespace": "primary"}),
        ("kvs.lookup", {"key": "k", "flags": "0", "namespace": "primary"}),
        ("kvs.lookup", {"key": "k", "flags": 0, "rootdir": "sha1-0"}),
        ("kvs.lookup-plus", {}),
        ("kvs.commit", None),
        ("kvs.commit", {"namespace": "primary", "flags": 0}),
        ("kvs.commit", {"ops": {}, "namespace": "primary", "flags": 0}),
        ("kvs.commit", {"ops": [{"flags": 0, "dirent": None}], "namespace": "primary", "flags": 0}),
        ("kvs.commit", {"ops": [{"key": "k", "flags": 0}], "namespace": "primary", "flags": 0}),
        ("kvs.commit", {"ops": [7], "namespace": "primary", "flags": 0}),
        ("kvs.commit", b'{"ops":[{"key":"k","flags":0,"dirent":' + b'{"data":' * 100_000 + b"\0"),
        ("kvs.getroot", {}),
        ("kvs.wait-version", {"namespace": "primary"}),
        ("kvs.namespace-create", {"namespace": "n"}),
        ("kvs.namespace-remove", {}),
        ("kvs-watch.lookup", {"key": "k", "flags": 0}),
        ("kvs-watch.cancel", {"matchtag": "1"}),
    ],
)
def test_a_bad_payload_is_a_protocol_error(client: KvsClient, topic: str, payload: object) -> None:
    assert client.ask(topic, payload).aux1 == errno.EPROTO


@pytest.mark.parametrize("number", [2**40, 2**70, -(2**70)])
def test_numbers_beyond_all_bounds_are_refused_or_harmless(client: KvsClient, number: int) -> None:
    create = {"namespace": "n", "rootref": EMPTY, "owner": number, "flags": 0}
    assert client.ask("kvs.namespace-create", create).aux1 in (errno.EINVAL, errno.EPROTO)
    assert answer(client, lookup("none", number)).aux1 in (errno.ENOENT, errno.EPROTO, errno.EINVAL)
    assert answer(client, commit(flags=number)).aux1 in (0, errno.EPROTO)


def test_a_bug_free_refusal_changes_nothing(client: KvsClient) -> None:
    before = json_of(client.ask("kvs.getroot", {"namespace": "primary"}))
    assert answer(client, commit(op_json("k", val(b"1")), op_json(".", val(b"1")))).aux1 == errno.EINVAL
    assert json_of(client.ask("kvs.getroot", {"namespace": "primary"})) == before


def test_what_is_said_in_one_breath_is_answered_in_order(client: KvsClient) -> None:
    client.say(
        commit(op_json("k", val(b"1")), matchtag=1),
        lookup("k", matchtag=2),
        commit(op_json("k", val(b"2")), matchtag=3),
        lookup("k", matchtag=4),
    )
    answers = {packet.aux2: packet for packet in client.heard()}
    assert [json_of(answers[tag])["rootseq"] for tag in (1, 3)] == [1, 2]
    assert json_of(answers[4]) == {"val": val(b"2")}
    assert answers[2].aux1 == 0


def test_stats_tell_how_large_the_store_is(client: KvsClient) -> None:
    before = json_of(client.ask("kvs.stats-get"))
    put(client, "k", b"x" * 1000)
    after = json_of(client.ask("kvs.stats-get"))
    assert (after["namespaces"], after["watches"]) == (1, 0)
    assert after["objects"] == before["objects"] + 2
    assert after["bytes"] > before["bytes"] + 1000


class Stored:
    """The services over a file; nothing is written until the batch ends."""

    def __init__(self, path: Path) -> None:
        router = Router(BROKER, OWNER)
        self.namespaces = Namespaces(OWNER)
        self.store = Store(path, self.namespaces)
        batch = Batch(router, self.namespaces, self.store)
        KvsService(router, self.namespaces, batch, KvsWatchService(router, self.namespaces, batch))
        self.client = KvsClient(router, "aaaaaaaa-client")
        self.client.batch = batch


def test_what_cannot_be_written_is_not_acknowledged_and_did_not_happen(tmp_path: Path) -> None:
    stored = Stored(tmp_path / "content.sqlite")
    client = stored.client
    root = put(client, "k", b"1")
    (pages,) = stored.store._database.execute("PRAGMA page_count").fetchone()
    stored.store._database.execute(f"PRAGMA max_page_count = {pages}")  # as a full disk
    client.say(commit(op_json("k", val(b"x" * 1_000_000)), matchtag=1), lookup("k", matchtag=2))
    answers = {packet.aux2: packet for packet in client.heard()}
    assert answers[1].aux1 == errno.EIO
    assert "full" in (text_of(answers[1]) or "")
    assert json_of(answers[2]) == {"val": val(b"1")}
    stored.store._database.execute("PRAGMA max_page_count = 1000000")
    assert put(client, "k", b"2")["rootseq"] == root["rootseq"] + 1
    stored.store.close()
    again = Stored(tmp_path / "content.sqlite")
    assert json_of(answer(again.client, lookup("k"))) == {"val": val(b"2")}
    again.store.close()


def test_namespaces_and_their_owners_are_stored_too(tmp_path: Path) -> None:
    stored = Stored(tmp_path / "content.sqlite")
    for name in ("stays", "goes"):
        stored.client.ask("kvs.namespace-create", {"namespace": name, "rootref": EMPTY, "owner": GUEST, "flags": 0})
        put(stored.client, "d.k", b"x" * 100, name)
    stored.client.ask("kvs.namespace-remove", {"namespace": "goes"})
    stored.store.close()
    again = Stored(tmp_path / "content.sqlite")
    listed = json_of(again.client.ask("kvs.namespace-list"))["namespaces"]
    assert {it["namespace"]: it["owner"] for it in listed} == {"primary": OWNER, "stays": GUEST}
    assert json_of(answer(again.client, lookup("d", FLUX_KVS_READDIR, "stays")))["val"] != directory()
    again.store.close()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "content.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(OSError, match=r"content\.sqlite cannot be read.*restore it, or move it away"):
        Store(path, Namespaces(OWNER))


def test_a_store_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "content.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(OSError, match="version 99"):
        Store(path, Namespaces(OWNER))


def test_a_store_that_lost_an_object_is_not_begun_with(tmp_path: Path) -> None:
    stored = Stored(tmp_path / "content.sqlite")
    put(stored.client, "d.k", b"1")
    stored.store._database.execute("DELETE FROM object")
    stored.store.close()
    with pytest.raises(OSError, match="is missing"):
        Stored(tmp_path / "content.sqlite")


@pytest.mark.parametrize(("found", "put_there"), [(b"MTIzNDU2", b"MTI\xff"), (b"MTIzNDU2", b"OTk5"), (b"x" * 99, b"y")])
def test_a_store_that_was_damaged_is_not_begun_with(tmp_path: Path, found: bytes, put_there: bytes) -> None:
    path = tmp_path / "content.sqlite"
    stored = Stored(path)
    put(stored.client, "d.small", b"123456")
    put(stored.client, "d.large", b"x" * 99)
    stored.store.close()
    whole = path.read_bytes()
    damaged = whole.replace(found, put_there + found[len(put_there) :])
    assert damaged != whole
    path.write_bytes(damaged)
    with pytest.raises(OSError, match=r"content\.sqlite cannot be read.*restore it, or move it away"):
        Stored(path)


HUGE = "k" * (1 << 20)


@pytest.mark.parametrize(
    ("topic", "payload", "errnum"),
    [
        ("kvs.lookup", {"key": HUGE, "flags": 0, "namespace": "primary"}, errno.ENAMETOOLONG),
        ("kvs.lookup", {"key": ".", "flags": 0, "namespace": HUGE}, errno.ENOTSUP),
        ("kvs.lookup", {"key": ".", "flags": 0, "rootdir": dirref("sha1-" + HUGE)}, errno.EINVAL),
        ("kvs.commit", {"ops": [op_json(HUGE, None)], "namespace": "primary", "flags": 0}, errno.ENAMETOOLONG),
        ("kvs.commit", {"ops": [op_json("k", symlink(HUGE))], "namespace": "primary", "flags": 0}, errno.ENAMETOOLONG),
        ("kvs.namespace-create", {"namespace": HUGE, "rootref": EMPTY, "owner": -1, "flags": 0}, errno.EINVAL),
        ("kvs.namespace-create", {"namespace": "n", "rootref": HUGE, "owner": -1, "flags": 0}, errno.ENOENT),
        ("kvs-watch.lookup", {"key": HUGE, "flags": 0, "namespace": "primary"}, errno.ENAMETOOLONG),
    ],
)
def test_what_is_huge_is_refused_with_few_words(
    client: KvsClient, topic: str, payload: dict[str, Any], errnum: int
) -> None:
    refusal = client.ask(topic, payload)
    assert refusal.aux1 == errnum
    assert len(text_of(refusal) or "") < 80
    assert json_of(client.ask("kvs.getroot", {"namespace": "primary"}))["rootseq"] == 0
