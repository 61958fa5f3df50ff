"""Commits and look-ups without a broker: what a key stands for after what was done."""

from __future__ import annotations

import errno
import gc
import json
from typing import Any

import pytest

from flux.constants import FLUX_KVS_APPEND, FLUX_KVS_READDIR, FLUX_KVS_READLINK, FLUX_KVS_TREEOBJ
from hearth.broker.credentials import ServiceError
from hearth.kvs import dirents, keys, namespaces, objects
from hearth.kvs.commit import named_keys
from hearth.kvs.lookup import LINKS_MAX, look_up, present
from hearth.kvs.namespaces import OLD_ROOTS_MAX, PRIMARY, Namespaces
from hearth.kvs.objects import INLINE_MAX_BYTES, Content
from tests.hearth.kvs.trees import Tree, directory, dirref, op, symlink, val, valref

EMPTY = "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91"
LONG = b"x" * (INLINE_MAX_BYTES + 1)


@pytest.fixture
def tree() -> Namespaces:
    return Namespaces(owner=1000)


def put(tree: Namespaces, key: str, dirent: Tree | None, flags: int = 0) -> None:
    tree.commit(PRIMARY, [op(key, dirent, flags)])


def get(tree: Namespaces, key: str, flags: int = 0) -> Any:
    return json.loads(present(look_up(tree.root_of(PRIMARY), tree.root_of, key, flags), flags))


def errno_of(tree: Namespaces, key: str, flags: int = 0) -> int:
    with pytest.raises(ServiceError) as refusal:
        get(tree, key, flags)
    return refusal.value.errnum


def refused(tree: Namespaces, key: str, dirent: object, flags: int = 0) -> int:
    before = tree.get(PRIMARY)
    with pytest.raises(ServiceError) as refusal:
        tree.commit(PRIMARY, [op("made", val(b"first")), op(key, dirent, flags)])  # type: ignore[arg-type]  # on purpose
    assert tree.get(PRIMARY) == before
    return refusal.value.errnum


def test_the_empty_tree_has_the_hash_of_flux() -> None:
    assert Content().empty.ref == EMPTY


def test_the_same_content_has_the_same_hash_whatever_the_order_it_came_in(tree: Namespaces) -> None:
    tree.commit(PRIMARY, [op("b", val(b"2")), op("a", val(b"1"))])
    first = tree.get(PRIMARY).root.ref
    tree.commit(PRIMARY, [op("a", None), op("b", None)])
    assert tree.get(PRIMARY).root.ref == EMPTY
    tree.commit(PRIMARY, [op("a", val(b"1")), op("b", val(b"2"))])
    assert tree.get(PRIMARY).root.ref == first


@pytest.mark.parametrize("key", ["a.b", ".a.b", "a.b.", "a..b", "...a...b..."])
def test_dots_that_separate_nothing_mean_nothing(tree: Namespaces, key: str) -> None:
    put(tree, key, val(b"1"))
    assert get(tree, "a.b") == get(tree, key) == val(b"1")
    assert list(named_keys([op(key, None)])) == ["a.b"]


def test_a_short_value_stands_in_its_directory_and_a_long_one_is_an_object(tree: Namespaces) -> None:
    put(tree, "short", val(LONG[1:]))
    put(tree, "long", val(LONG))
    assert get(tree, ".", FLUX_KVS_READDIR)["data"] == {"short": val(LONG[1:]), "long": valref(LONG)}
    assert get(tree, "long") == val(LONG)
    assert get(tree, "long", FLUX_KVS_TREEOBJ) == valref(LONG)


def test_a_directory_is_looked_at_with_its_flag_only(tree: Namespaces) -> None:
    put(tree, "d.x", val(b"1"))
    assert errno_of(tree, "d") == errno.EISDIR
    assert get(tree, "d", FLUX_KVS_READDIR) == directory(x=val(b"1"))
    assert get(tree, ".", FLUX_KVS_TREEOBJ) == dirref(tree.root_of(PRIMARY).ref)
    assert errno_of(tree, "d.x", FLUX_KVS_READDIR) == errno.ENOTDIR


@pytest.mark.parametrize("key", ["none", "none.x", "v.below"])
def test_what_is_missing_or_below_a_value_is_not_there(tree: Namespaces, key: str) -> None:
    put(tree, "v", val(b"1"))
    assert errno_of(tree, key) == errno.ENOENT


def test_a_link_is_followed_at_the_end_and_in_the_way(tree: Namespaces) -> None:
    tree.commit(PRIMARY, [op("d.x", val(b"1")), op("at.end", symlink("d.x")), op("way", symlink("d"))])
    assert get(tree, "at.end") == get(tree, "way.x") == val(b"1")
    assert get(tree, "at.end", FLUX_KVS_READLINK) == get(tree, "at.end", FLUX_KVS_TREEOBJ) == symlink("d.x")
    assert errno_of(tree, "d.x", FLUX_KVS_READLINK) == errno_of(tree, "d", FLUX_KVS_READLINK) == errno.EINVAL
    assert errno_of(tree, "at.end", FLUX_KVS_READDIR | FLUX_KVS_READLINK) == errno.EINVAL


def test_a_link_may_dangle_and_may_not_go_round(tree: Namespaces) -> None:
    tree.commit(PRIMARY, [op("dangling", symlink("none")), op("a", symlink("b")), op("b", symlink("a"))])
    assert errno_of(tree, "dangling") == errno.ENOENT
    assert errno_of(tree, "a") == errno.ELOOP


def test_as_many_links_as_are_allowed_are_followed(tree: Namespaces) -> None:
    put(tree, "link0", val(b"end"))
    for number in range(LINKS_MAX + 1):
        put(tree, f"link{number + 1}", symlink(f"link{number}"))
    assert get(tree, f"link{LINKS_MAX}") == val(b"end")
    assert errno_of(tree, f"link{LINKS_MAX + 1}") == errno.ELOOP


def test_a_link_leads_to_another_namespace(tree: Namespaces) -> None:
    tree.create("other", 1, EMPTY)
    tree.commit("other", [op("d.x", val(b"1"))])
    put(tree, "there", symlink("d", namespace="other"))
    put(tree, "nowhere", symlink("d", namespace="none"))
    assert get(tree, "there.x") == val(b"1")
    assert errno_of(tree, "nowhere.x") == errno.ENOTSUP
    assert refused(tree, "there.y", val(b"2")) == errno.EINVAL


def test_writing_goes_through_links_and_replaces_one_at_the_end(tree: Namespaces) -> None:
    tree.commit(PRIMARY, [op("d.x", val(b"1")), op("way", symlink("d")), op("way.y", val(b"2"))])
    assert get(tree, "d.y") == val(b"2")
    tree.commit(PRIMARY, [op("way", val(b"3"))])
    assert (get(tree, "way"), get(tree, "d.y")) == (val(b"3"), val(b"2"))
    tree.commit(PRIMARY, [op("a", symlink("b")), op("b", symlink("a"))])
    assert refused(tree, "a.x", val(b"1")) == errno.ELOOP


def test_a_value_in_the_way_becomes_a_directory(tree: Namespaces) -> None:
    put(tree, "a", val(b"1"))
    put(tree, "a.b.c", val(b"2"))
    assert get(tree, "a.b.c") == val(b"2")


def test_a_directory_replaces_what_is_there(tree: Namespaces) -> None:
    put(tree, "d.x", val(b"1"))
    put(tree, "d", directory())
    assert get(tree, "d", FLUX_KVS_READDIR) == directory()


def test_a_directory_may_be_written_whole(tree: Namespaces) -> None:
    put(tree, "d", directory(x=val(LONG), sub=directory(y=val(b"1"), link=symlink("d.x"))))
    assert get(tree, "d.sub.link") == val(LONG)
    assert get(tree, "d", FLUX_KVS_READDIR)["data"]["sub"]["type"] == "dirref"


def test_unlinking_what_is_not_there_is_fine(tree: Namespaces) -> None:
    put(tree, "v", val(b"1"))
    root = tree.root_of(PRIMARY)
    tree.commit(PRIMARY, [op("none", None), op("none.x", None), op("v.x", None)])
    assert tree.root_of(PRIMARY) is root


def test_operations_apply_in_order(tree: Namespaces) -> None:
    tree.commit(
        PRIMARY,
        [op("d.x", val(b"1")), op("d", None), op("d.y", val(b"2")), op("e.x.y", val(b"3")), op("e.x", val(b"4"))],
    )
    assert get(tree, "d", FLUX_KVS_READDIR) == directory(y=val(b"2"))
    assert get(tree, "e.x") == val(b"4")


def test_a_commit_of_nothing_counts(tree: Namespaces) -> None:
    assert tree.commit(PRIMARY, []).sequence == 1
    assert tree.commit(PRIMARY, []).root.ref == EMPTY


def test_appending_keeps_the_pieces(tree: Namespaces) -> None:
    put(tree, "log", val(b"one"), FLUX_KVS_APPEND)
    put(tree, "log", val(b"two"), FLUX_KVS_APPEND)
    put(tree, "log", val(LONG), FLUX_KVS_APPEND)
    assert get(tree, "log") == val(b"onetwo" + LONG)
    assert get(tree, "log", FLUX_KVS_TREEOBJ) == valref(b"one", b"two", LONG)


def test_only_values_are_appended_to_values(tree: Namespaces) -> None:
    tree.commit(PRIMARY, [op("d.x", val(b"1")), op("link", symlink("d.x"))])
    assert refused(tree, "d", val(b"1"), FLUX_KVS_APPEND) == errno.EISDIR
    assert refused(tree, "link", val(b"1"), FLUX_KVS_APPEND) == errno.ENOTSUP
    assert refused(tree, "d.x", directory(), FLUX_KVS_APPEND) == errno.EINVAL


@pytest.mark.parametrize(
    "dirent",
    [
        7,
        [],
        {},
        {**val(b"1"), "ver": 2},
        {**val(b"1"), "type": "zork"},
        {**val(b"1"), "type": ["val"]},
        {**val(b"1"), "data": None},
        {**val(b"1"), "data": "no base64!"},
        {**val(b"1"), "data": "ü"},
        {**directory(), "data": []},
        directory(x={}),
        {**directory(), "data": {"a.b": val(b"1")}},
        {**directory(), "data": {"": val(b"1")}},
        {**dirref(EMPTY), "data": EMPTY},
        {**dirref(EMPTY), "data": [EMPTY, EMPTY]},
        {**valref(b"1"), "data": []},
        {**valref(b"1"), "data": [7]},
        {**valref(b"1"), "data": ["sha1-zork"]},
        {**symlink("x"), "data": {}},
        {**symlink("x"), "data": "x"},
        symlink(""),
        {**symlink("x"), "data": {"target": "x", "namespace": 7}},
    ],
)
def test_a_malformed_tree_object_is_refused_and_nothing_is_changed(tree: Namespaces, dirent: object) -> None:
    assert refused(tree, "k", dirent) == errno.EINVAL


def test_directories_nested_without_end_are_refused(tree: Namespaces) -> None:
    nested = directory()
    for _ in range(200):
        nested = directory(x=nested)
    assert refused(tree, "k", nested) == errno.EINVAL


def test_the_root_cannot_be_written(tree: Namespaces) -> None:
    for key in (".", "...", ""):
        assert refused(tree, key, val(b"1")) == errno.EINVAL
        assert refused(tree, key, None) == errno.EINVAL


def test_a_key_may_be_as_long_as_its_bound_and_as_deep(tree: Namespaces) -> None:
    longest = ".".join("a" * (keys.KEY_MAX_BYTES // 2))
    put(tree, longest, val(b"deep"))
    assert get(tree, longest) == val(b"deep")
    too_long = "ü" * (keys.KEY_MAX_BYTES // 2) + "x"
    assert refused(tree, too_long, val(b"1")) == errno.ENAMETOOLONG
    assert errno_of(tree, too_long) == errno.ENAMETOOLONG
    put(tree, "a", None)


def test_a_tree_copied_by_reference_shares_its_objects(tree: Namespaces) -> None:
    put(tree, "d.x", val(LONG))
    objects_before = len(tree.content)
    put(tree, "copy", get(tree, "d", FLUX_KVS_TREEOBJ))
    put(tree, "value", get(tree, "d.x", FLUX_KVS_TREEOBJ))
    assert get(tree, "copy.x") == get(tree, "value") == val(LONG)
    assert len(tree.content) == objects_before + 2  # two roots


def test_a_reference_to_what_is_not_there_is_refused(tree: Namespaces) -> None:
    assert refused(tree, "k", valref(b"never put")) == errno.ENOENT
    assert refused(tree, "k", dirref("sha1-" + "0" * 40)) == errno.ENOENT


def test_a_value_with_the_bytes_of_a_directory_is_no_directory(tree: Namespaces) -> None:
    put(tree, "d", directory(x=val(b"a value that is long enough to be looked at"), y=val(b"1")))
    wire = present(look_up(tree.root_of(PRIMARY), tree.root_of, "d", 0), FLUX_KVS_READDIR)
    put(tree, "v", val(wire))
    put(tree, "d", None)
    for _ in range(OLD_ROOTS_MAX):
        tree.commit(PRIMARY, [])
    assert get(tree, "v") == val(wire)
    assert refused(tree, "k", dirref(objects.ref_of(wire))) == errno.ENOENT


def test_a_key_that_is_overwritten_for_ever_leaves_nothing_behind(tree: Namespaces) -> None:
    def sizes(first: int) -> tuple[int, int]:
        for number in range(first, first + 2 * OLD_ROOTS_MAX):
            put(tree, "d.k", val(b"%0100d" % number))
        return len(tree.content), tree.content.size_bytes

    after_some = sizes(0)
    tree.content.changes.clear()
    assert sizes(1000) == after_some
    assert after_some[0] <= 3 * (OLD_ROOTS_MAX + 1) + 1
    assert len(tree.content.changes) <= 2 * after_some[0], "what came and went is not written"
    put(tree, "d", None)
    for _ in range(OLD_ROOTS_MAX):
        tree.commit(PRIMARY, [])
    assert len(tree.content) == 1


def test_an_old_root_can_be_looked_at_for_a_stated_number_of_commits(tree: Namespaces) -> None:
    put(tree, "k", val(b"old"))
    ref = tree.get(PRIMARY).root.ref
    for number in range(OLD_ROOTS_MAX):
        put(tree, "k", val(b"%d" % number))
        old = dirents.directory_ref(tree.content, dirref(ref))
        assert present(look_up(old, tree.root_of, "k", 0), 0) == objects.value_wire(b"old")
    del old
    put(tree, "k", val(b"newest"))
    with pytest.raises(ServiceError) as refusal:
        dirents.directory_ref(tree.content, dirref(ref))
    assert refusal.value.errnum == errno.ENOENT


def test_a_full_store_takes_unlinks_only(tree: Namespaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "STORE_MAX_BYTES", 100_000)
    monkeypatch.setattr(namespaces, "_LEAN_BYTES", 50_000)
    for number in range(9):
        put(tree, f"k{number}", val(b"%010000d" % number))
    assert refused(tree, "one.more", val(b"x" * 20_000)) == errno.ENOSPC
    gc.collect()  # pytest keeps the exception, and with it the frames that hold the tree that was not to be
    put(tree, "k1", None)
    put(tree, "k2", None)
    put(tree, "one.more", val(b"x" * 10_000))


def test_an_overwritten_large_value_does_not_fill_the_store(tree: Namespaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "STORE_MAX_BYTES", 100_000)
    monkeypatch.setattr(namespaces, "_LEAN_BYTES", 50_000)
    for number in range(50):
        put(tree, "k", val(b"%020000d" % number))


def test_an_object_has_a_largest_size(tree: Namespaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "OBJECT_MAX_BYTES", 10_000)
    assert refused(tree, "k", val(b"x" * 10_001)) == errno.EFBIG
    put(tree, "k", val(b"x" * 6_000))
    assert refused(tree, "k", val(b"x" * 6_000), FLUX_KVS_APPEND) == errno.EFBIG
    assert refused(tree, "d", directory(**{f"n{number}": val(b"x" * 50) for number in range(100)})) == errno.EFBIG


def test_a_namespace_is_made_from_a_root_and_goes_its_own_way(tree: Namespaces) -> None:
    put(tree, "k", val(b"1"))
    tree.create("copy", 7, tree.get(PRIMARY).root.ref)
    put(tree, "k", None)
    assert list(tree.root_of("copy").entries) == ["k"]
    assert tree.remove("copy")
    assert not tree.remove("copy")


@pytest.mark.parametrize(
    ("name", "ref", "errnum"),
    [
        (PRIMARY, EMPTY, errno.EEXIST),
        ("", EMPTY, errno.EINVAL),
        ("a\0b", EMPTY, errno.EINVAL),
        ("x" * 256, EMPTY, errno.EINVAL),
        ("new", "sha1-zork", errno.ENOENT),
    ],
)
def test_a_bad_namespace_is_refused(tree: Namespaces, name: str, ref: str, errnum: int) -> None:
    with pytest.raises(ServiceError) as refusal:
        tree.create(name, 1, ref)
    assert refusal.value.errnum == errnum


def test_there_is_a_largest_number_of_namespaces(tree: Namespaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "NAMESPACES_MAX", 2)
    tree.create("one", 1, EMPTY)
    with pytest.raises(ServiceError) as refusal:
        tree.create("two", 1, EMPTY)
    assert refusal.value.errnum == errno.ENOSPC


def test_primary_stays(tree: Namespaces) -> None:
    with pytest.raises(ServiceError) as refusal:
        tree.remove(PRIMARY)
    assert refusal.value.errnum == errno.ENOTSUP


def test_a_tree_deeper_than_any_key_comes_and_goes(tree: Namespaces) -> None:
    for _ in range(20_000):
        inner = tree.root_of(PRIMARY).ref
        tree.commit(PRIMARY, [op("n", directory(n=dirref(inner)))])
    assert len(tree.content) > 20_000
    put(tree, "n", None)
    for _ in range(OLD_ROOTS_MAX):
        tree.commit(PRIMARY, [])
    assert len(tree.content) == 1
