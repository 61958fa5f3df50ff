"""Objects through a real instance; after §2.7 to §2.11."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import flamepy
from flamepy import FlameErrorCode, ObjectNotFoundError, ObjectRef
from flamepy.core.object_cache import CachedObject
from flamepy.core.objects import Objects
from flamepy.core.values import encode_value
from flamepy.protocol import ObjectData, WriteObject
from tests.conftest import DEADLINE_S, Daemon, expect_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Place

PREFIX = "objects/session"


@contextlib.contextmanager
def objects_of(daemon: Daemon) -> Iterator[Objects]:
    """A client with a connection of its own."""
    with contextlib.closing(daemon.connect()) as connection:
        yield Objects(lambda: connection, daemon.uri)


@pytest.fixture
def objects(shared_daemon: Daemon) -> Iterator[Objects]:
    with objects_of(shared_daemon) as objects:
        yield objects
        objects.delete("objects/*")


@pytest.fixture
def others(shared_daemon: Daemon) -> Iterator[Objects]:
    """Another client of the same instance."""
    with objects_of(shared_daemon) as objects:
        yield objects


def whole(base: Any, deltas: list[Any]) -> list[Any]:
    return [base, *deltas]


# -- writing and reading


def test_what_is_put_can_be_got(objects: Objects, shared_daemon: Daemon) -> None:
    ref = objects.put(PREFIX, {"some": ["value", None]})
    assert (ref.endpoint, ref.version) == (shared_daemon.uri, 1)
    assert ref.key.startswith(f"{PREFIX}/")
    assert objects.get(ref) == {"some": ["value", None]}


def test_each_put_is_a_new_object(objects: Objects) -> None:
    first, second = objects.put(PREFIX, 1), objects.put(PREFIX, 2)
    assert first.key != second.key
    assert (objects.get(first), objects.get(second)) == (1, 2)


def test_a_reference_that_was_sent_leads_to_the_object(objects: Objects, others: Objects) -> None:
    sent = objects.put(PREFIX, "value").encode()
    assert others.get(ObjectRef.decode(sent)) == "value"


def test_a_class_that_no_module_has_survives(objects: Objects, others: Objects) -> None:
    class Local:
        number = 7

    assert others.get(objects.put(PREFIX, Local())).number == 7


def test_an_update_gives_the_next_version_and_old_references_see_it(objects: Objects, others: Objects) -> None:
    old = objects.put(PREFIX, "old")
    assert others.get(old) == "old"
    new = objects.update(old, "new")
    assert (new.key, new.endpoint, new.version) == (old.key, old.endpoint, 2)
    assert [each.get(ref) for each in (objects, others) for ref in (old, new)] == ["new"] * 4


def test_deltas_arrive_in_order_and_only_with_a_deserializer(objects: Objects, others: Objects) -> None:
    ref = objects.put(PREFIX, "base")
    versions = [objects.patch(ref, delta).version for delta in (1, None, b"\0", {"a": [2]})]
    assert versions == [2, 3, 4, 5]
    for each in (objects, others):
        assert each.get(ref, whole) == ["base", 1, None, b"\0", {"a": [2]}]
        assert each.get(ref) == "base"


def test_an_object_without_deltas_is_deserialized_with_an_empty_list(objects: Objects) -> None:
    assert objects.get(objects.put(PREFIX, "base"), lambda base, deltas: (base, deltas)) == ("base", [])


def test_an_update_clears_the_deltas(objects: Objects, others: Objects) -> None:
    ref = objects.put(PREFIX, "base")
    objects.patch(ref, 1)
    assert others.get(ref, whole) == ["base", 1]
    objects.update(ref, "new")
    assert others.get(ref, whole) == ["new"]
    others.patch(ref, 2)
    assert objects.get(ref, whole) == ["new", 2]


def test_deltas_of_many_writers_are_there_once_and_in_one_order(
    objects: Objects, others: Objects, shared_daemon: Daemon
) -> None:
    ref = objects.put(PREFIX, None)

    def write(number: int) -> list[int]:
        with objects_of(shared_daemon) as writer:
            return [writer.patch(ref, (number, step)).version for step in range(20)]

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(8)))
    seen = objects.get(ref, whole)
    assert seen == others.get(ref, whole)
    assert sorted(version for versions in written for version in versions) == list(range(2, 162))
    for number, versions in enumerate(written):
        assert [seen[version - 1] for version in versions] == [(number, step) for step in range(20)]


# -- what travels


def test_the_same_object_is_given_again_as_long_as_nothing_is_new(objects: Objects, others: Objects) -> None:
    ref = objects.put(PREFIX, ["base"])
    assert objects.get(ref, whole) is objects.get(ref, whole)
    before = objects.get(ref, whole)
    others.patch(ref, 1)
    assert objects.get(ref, whole) is not before
    assert (before, objects.get(ref, whole)) == ([["base"]], [["base"], 1])


def test_only_new_patches_travel(objects: Objects, others: Objects) -> None:
    """The client is made to believe in another base; what it then sees was not sent to it."""
    ref = objects.put(PREFIX, "base")
    objects.get(ref)
    believe(objects, ref, "believed")
    assert objects.get(ref, whole) == ["believed"]
    for delta in (1, 2):
        others.patch(ref, delta)
    assert objects.get(ref, whole) == ["believed", 1, 2]
    others.patch(ref, 3)
    assert objects.get(ref, whole) == ["believed", 1, 2, 3]
    others.update(ref, "true")
    assert objects.get(ref, whole) == ["true"]


def test_a_reference_of_version_0_fetches_everything(objects: Objects) -> None:
    ref = objects.put(PREFIX, "base")
    objects.get(ref)
    believe(objects, ref, "believed")
    assert objects.get(ref) == "believed"
    assert objects.get(ObjectRef(ref.endpoint, ref.key)) == "base"


def believe(objects: Objects, ref: ObjectRef, base: object) -> None:
    known = objects._cache.find(ref.endpoint, ref.key)
    assert known is not None
    objects._cache.keep(
        ref.endpoint, ref.key, CachedObject(known.epoch, known.version, encode_value(base), known.patches)
    )


def test_large_objects_wait_for_room_instead_of_ending_the_connection(objects: Objects, others: Objects) -> None:
    """Together they are more than the daemon queues for one connection."""
    refs = [objects.put(PREFIX, bytes([number]) * (30 << 20)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda ref: (len(others.get(ref)), others.get(ref)[-1]), refs))
    assert sizes == [(30 << 20, number) for number in range(4)]


# -- deleting


@pytest.mark.parametrize("named", ["key", PREFIX, "objects/*"])
def test_what_is_deleted_is_not_found_by_anyone(objects: Objects, others: Objects, named: str) -> None:
    ref = objects.put(PREFIX, "value")
    assert others.get(ref) == "value"
    objects.delete(ref.key if named == "key" else named)
    for use in (objects.get, others.get, lambda ref: objects.patch(ref, 1)):
        with pytest.raises(ObjectNotFoundError, match="not found") as refusal:
            use(ref)
        assert refusal.value.code is FlameErrorCode.NOT_FOUND
        assert isinstance(refusal.value, ValueError)
        assert isinstance(refusal.value, flamepy.FlameError)


def test_deleting_what_is_not_there_is_no_error(objects: Objects) -> None:
    for named in ("objects/nobody", "objects/nobody/nothing", "nobody/*"):
        objects.delete(named)


def test_other_sessions_and_applications_keep_their_objects(objects: Objects) -> None:
    refs = [objects.put(prefix, prefix) for prefix in (PREFIX, "objects/other", "objects2/session")]
    objects.delete(PREFIX)
    assert [objects.get(ref) for ref in refs[1:]] == ["objects/other", "objects2/session"]
    objects.delete("objects2/*")


def test_a_version_never_comes_back(objects: Objects, others: Objects) -> None:
    ref = objects.put(PREFIX, "first")
    objects.patch(ref, 1)
    assert others.get(ref, whole) == ["first", 1]
    objects.delete(ref.key)
    assert objects.update(ref, "second").version > 2
    assert others.get(ref, whole) == ["second"]


def test_a_missing_object_can_be_told_to_another_process(objects: Objects) -> None:
    with pytest.raises(ObjectNotFoundError) as refusal:
        objects.get(ObjectRef(objects.put(PREFIX, 1).endpoint, "objects/session/nothing", 1))
    copy = pickle.loads(pickle.dumps(refusal.value))
    assert (type(copy), str(copy)) == (ObjectNotFoundError, str(refusal.value))


# -- refusals


@pytest.mark.parametrize("prefix", ["", "app", "app/session/object", "app/*", "../session", "app/s\0", "a" * 10_000])
def test_a_prefix_that_is_none_is_refused(objects: Objects, prefix: str) -> None:
    with pytest.raises(ValueError, match="object key"):
        objects.put(prefix, 1)


@pytest.mark.parametrize("key", ["", "app/session", "app/*", "app/session/.."])
def test_a_key_that_is_none_is_refused(objects: Objects, key: str) -> None:
    ref = ObjectRef("local:///nowhere", key)
    uses: list[Callable[[], object]] = [
        lambda: objects.get(ref),
        lambda: objects.update(ref, 1),
        lambda: objects.patch(ref, 1),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="object key"):
            use()


@pytest.mark.parametrize("topic", ["put", "update", "patch", "get", "delete"])
@pytest.mark.parametrize("key", ["a/../b", "a", "/", "a/b/c/d", "a/b\0/c", "x" * 10_000])
def test_the_instance_itself_refuses_what_is_no_key(client: flamepy.Connection, topic: str, key: str) -> None:
    """Any program can send anything."""
    payload = msgspec.msgpack.encode(WriteObject(key, b""))
    if topic in ("get", "delete"):
        payload = msgspec.json.encode({"key": key}) + b"\0"
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, "object key"):
        client.link.call(f"flame.object.{topic}", payload, bytes)


def test_what_the_instance_keeps_is_the_client_s_own_bytes(client: flamepy.Connection, objects: Objects) -> None:
    ref = objects.put(PREFIX, 1)
    client.link.call("flame.object.update", msgspec.msgpack.encode(WriteObject(ref.key, b"no pickle")), bytes)
    answer = client.link.call("flame.object.get", msgspec.json.encode({"key": ref.key}) + b"\0", bytes)
    assert msgspec.msgpack.decode(answer, type=ObjectData).base == b"no pickle"


def test_a_reference_to_nowhere_says_so(objects: Objects) -> None:
    with expect_refusal(FlameErrorCode.INVALID_CONFIG, "no instance answers at local:///nowhere/local-0"):
        objects.get(ObjectRef("local:///nowhere/local-0", "app/session/object"))


# -- other instances, other lives


def test_a_reference_leads_to_its_own_instance(objects: Objects, own_daemon: Daemon) -> None:
    with objects_of(own_daemon) as elsewhere:
        ref = elsewhere.put(PREFIX, "there")
    assert ref.endpoint == own_daemon.uri
    assert objects.get(ref) == "there"
    assert objects.patch(ref, 1).endpoint == own_daemon.uri
    assert objects.get(ref, whole) == ["there", 1]


def test_an_instance_that_was_started_again_is_not_taken_for_the_old_one(objects: Objects, place: Place) -> None:
    """Same address, same key, same version: but another object."""
    old_life = Daemon(place)
    with objects_of(old_life) as elsewhere:
        ref = elsewhere.put(PREFIX, "old")
    assert objects.get(ref) == "old"
    old_life.stop()
    new_life = Daemon(place)
    with objects_of(new_life) as elsewhere:
        assert elsewhere.update(ref, "new") == ref
    assert objects.get(ref) == "new"
    new_life.stop()


# -- the functions, for the whole process

PROGRAM = """
import flamepy
from flamepy.cache import delete_objects, get_object, patch_object, put_object, update_object
ref = put_object("app/session", [1])
assert get_object(ref) == [1]
patch_object(ref, 2)
assert get_object(ref, lambda base, deltas: base + deltas) == [1, 2]
assert get_object(update_object(ref, [3])) == [3]
delete_objects("app/*")
try:
    get_object(ref)
except flamepy.FlameError as error:
    print(error.code.name, ref.endpoint)
"""


def run(place: Place, program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=place.environment(**environment),
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_with_nothing_configured_objects_live_in_the_embedded_instance(place: Place) -> None:
    told = run(place)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("NOT_FOUND local:///tmp/")


def test_objects_go_to_the_configured_instance(own_daemon: Daemon) -> None:
    told = run(own_daemon.place, FLAME_ENDPOINT=own_daemon.uri)
    assert (told.returncode, told.stdout, told.stderr) == (0, f"NOT_FOUND {own_daemon.uri}\n", "")


def test_a_cache_endpoint_goes_before_it(own_daemon: Daemon) -> None:
    told = run(own_daemon.place, FLAME_ENDPOINT="local:///nowhere", FLAME_CACHE_ENDPOINT=own_daemon.uri)
    assert (told.returncode, told.stdout, told.stderr) == (0, f"NOT_FOUND {own_daemon.uri}\n", "")


FORKING = """
import os, warnings, flamepy
warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: forking with threads is what this is about
ref = flamepy.put_object("app/session", "parent's")
assert flamepy.get_object(ref) == "parent's"
child = os.fork()
if child == 0:
    assert flamepy.get_object(ref) == "parent's"
    flamepy.update_object(ref, "child's")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert flamepy.get_object(ref) == "child's"
"""


def test_a_forked_child_reads_and_writes_on_its_own(place: Place) -> None:
    told = run(place, FORKING)
    assert (told.returncode, told.stderr) == (0, "")


def test_a_cache_endpoint_that_cannot_be_reached_is_an_error(place: Place) -> None:
    told = run(place, FLAME_CACHE_ENDPOINT="grpc://127.0.0.1:9090")
    assert told.returncode == 1
    assert "'grpc://127.0.0.1:9090': scheme 'grpc' is not served" in told.stderr
