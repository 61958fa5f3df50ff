"""flux.kvs against a real broker: values, keys, directories, namespaces, as t0005-kvs of flux-core promises them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

import flux
import flux.kvs
from flux.constants import FLUX_KVS_NO_MERGE, FLUX_KVS_SYNC, FLUX_KVS_TXN_COMPACT
from flux.kvs import KVSDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def handle(broker: str) -> Iterator[flux.Flux]:
    """The store is empty when the test is over."""
    with flux.Flux(broker) as connected:
        yield connected
        flux.kvs.commit(connected)
        for name in flux.kvs.get_dir(connected):
            flux.kvs.put_unlink(connected, name)
        flux.kvs.commit(connected)


@pytest.fixture
def namespace(handle: flux.Flux) -> Iterator[str]:
    flux.kvs.namespace_create(handle, "theirs")
    yield "theirs"
    flux.kvs.namespace_remove(handle, "theirs")


def put(handle: flux.Flux, namespace: str | None = None, /, **values: object) -> None:
    for key, value in values.items():
        flux.kvs.put(handle, key, value)
    flux.kvs.commit(handle, namespace=namespace)


# Values


@pytest.mark.parametrize(
    "value",
    [7, -1.5, "text", "", None, True, "☺ ü ㋡", b"\xde\xad\xbe\xef", [1, "a", None], {"a": {"b": [1]}}, "x" * 100_000],
)
def test_a_value_comes_back_with_its_type(handle: flux.Flux, value: object) -> None:
    with flux.kvs.get_dir(handle) as directory:
        directory["k"] = value
        directory.commit()
        back = directory["k"]
    assert (back, type(back)) == (value, type(value))
    assert flux.kvs.get(handle, "k") == value


@pytest.mark.parametrize(
    ("data", "meaning"), [(b"{}", {}), (b"{", "{"), (b"a\0b", "a\0b"), (b"", ""), (b"\xff", b"\xff"), (b"1", 1)]
)
def test_bytes_are_stored_as_they_are_and_read_as_what_they_can_mean(
    handle: flux.Flux, data: bytes, meaning: object
) -> None:
    put(handle, k=data)
    assert flux.kvs.get(handle, "k") == meaning


def test_a_raw_text_is_its_bytes(handle: flux.Flux) -> None:
    flux.kvs.put(handle, "b", b"bytes", raw=True)
    flux.kvs.put(handle, "s", "text ü", raw=True)
    flux.kvs.commit(handle)
    assert [flux.kvs.get(handle, key) for key in ("b", "s")] == ["bytes", "text ü"]
    with pytest.raises(AttributeError):
        flux.kvs.put(handle, "i", 7, raw=True)


def test_keys_make_the_directories_they_need(handle: flux.Flux) -> None:
    with flux.kvs.get_dir(handle) as directory:
        directory["a.b.c.e.f.j.k"] = 5
    assert flux.kvs.get(handle, "a.b.c.e.f.j.k") == 5


def test_what_exists_and_what_is_a_directory(handle: flux.Flux) -> None:
    flux.kvs.put(handle, "d.k", 1)
    flux.kvs.put_mkdir(handle, "made")
    flux.kvs.put_symlink(handle, "dangling", "none")
    flux.kvs.put_symlink(handle, "link", "d")
    flux.kvs.commit(handle)
    found = {"d": True, "d.k": False, "made": True, "link": True, ".": True}
    for key, is_directory in found.items():
        assert flux.kvs.exists(handle, key)
        assert flux.kvs.isdir(handle, key) == is_directory
    for key in ("none", "dangling", "d.k.below"):
        assert not flux.kvs.exists(handle, key)
        assert not flux.kvs.isdir(handle, key)
    assert flux.kvs.get(handle, "link.k") == 1


def test_an_unlinked_key_is_gone_with_all_below(handle: flux.Flux) -> None:
    put(handle, **{"d.x": 1, "d.y.z": 2})
    flux.kvs.put_unlink(handle, "d")
    flux.kvs.put_unlink(handle, "never.was")
    flux.kvs.commit(handle)
    assert not flux.kvs.exists(handle, "d.y.z")
    with pytest.raises(FileNotFoundError):
        flux.kvs.get(handle, "d.x")


def test_get_of_a_directory_is_a_directory(handle: flux.Flux) -> None:
    put(handle, **{"d.k": 1})
    directory = flux.kvs.get(handle, "d")
    assert isinstance(directory, KVSDir)
    assert dict(directory) == {"k": 1}


@pytest.mark.parametrize("flags", [FLUX_KVS_NO_MERGE, FLUX_KVS_TXN_COMPACT, FLUX_KVS_SYNC])
def test_commits_take_the_flags_of_flux(handle: flux.Flux, flags: int) -> None:
    flux.kvs.put(handle, "k", flags)
    assert flux.kvs.commit(handle, flags) == 0
    assert flux.kvs.get(handle, "k") == flags


def test_a_refused_commit_leaves_nothing_staged(handle: flux.Flux) -> None:
    flux.kvs.put(handle, ".", 1)
    flux.kvs.put(handle, "k", 1)
    with pytest.raises(OSError, match="root") as refusal:
        flux.kvs.commit(handle)
    assert refusal.value.errno == errno.EINVAL
    assert flux.kvs.commit(handle) == 0
    assert not flux.kvs.exists(handle, "k")


def test_a_commit_of_nothing_sends_nothing(handle: flux.Flux) -> None:
    before = handle.rpc("kvs.getroot", {"namespace": "primary"}).get()["rootseq"]
    assert flux.kvs.commit(handle) == 0
    assert flux.kvs.commit_async(handle).get() is None
    assert handle.rpc("kvs.getroot", {"namespace": "primary"}).get()["rootseq"] == before


def test_an_empty_key_is_refused_before_anything_is_sent(handle: flux.Flux) -> None:
    refused: list[Callable[[], object]] = [
        lambda: flux.kvs.exists(handle, ""),
        lambda: flux.kvs.isdir(handle, ""),
        lambda: flux.kvs.get(handle, ""),
        lambda: flux.kvs.get_dir(handle, ""),
        lambda: flux.kvs.put(handle, "", ""),
        lambda: flux.kvs.put_mkdir(handle, ""),
        lambda: flux.kvs.put_unlink(handle, ""),
        lambda: flux.kvs.put_symlink(handle, "", ""),
        lambda: flux.kvs.kvs_watch_async(handle, ""),
        lambda: flux.kvs.KVSTxn(handle).put("", 1),
        lambda: flux.kvs.get_dir(handle)[""],
    ]
    for call in refused:
        with pytest.raises(OSError, match="EINVAL"):
            call()


# Directories


def test_a_directory_needs_a_handle_and_to_be_there(handle: flux.Flux) -> None:
    with pytest.raises(ValueError, match="flux_handle"):
        KVSDir()
    with pytest.raises(FileNotFoundError, match="No such file"):
        KVSDir(handle, "none")
    put(handle, k=1)
    with pytest.raises(NotADirectoryError):
        KVSDir(handle, "k")


def test_a_missing_item_is_a_key_error(handle: flux.Flux) -> None:
    with pytest.raises(KeyError, match="none"):
        KVSDir(handle)["none"]


def test_a_deleted_item_is_gone_when_committed(handle: flux.Flux) -> None:
    put(handle, k=1)
    with KVSDir(handle) as directory:
        del directory["k"]
        assert "k" in directory
    assert "k" not in directory


def test_fill_puts_dotted_keys_too(handle: flux.Flux) -> None:
    KVSDir(handle).fill({"d.a": 1, "d.b.c": "two", "e": [3]})
    assert [flux.kvs.get(handle, key) for key in ("d.a", "d.b.c", "e")] == [1, "two", [3]]


def test_mkdir_makes_a_directory_with_contents(handle: flux.Flux) -> None:
    made = KVSDir(handle).mkdir("d", {"a": 1, "b.c": 2})
    assert (made.path, made["a"], made["b.c"]) == ("d", 1, 2)
    assert len(KVSDir(handle).mkdir("empty")) == 0


def test_a_directory_speaks_of_what_is_in_it(handle: flux.Flux) -> None:
    KVSDir(handle).mkdir("top.d", {"a": 1, "b.c": 2})
    directory = KVSDir(handle, "top.d")
    assert directory.key_at("a") == "top.d.a"
    assert KVSDir(handle).key_at("a") == "a"
    assert [directory.exists(name) for name in ("a", "b.c", "top", "none")] == [True, True, False, False]
    assert directory["a"] == 1
    assert directory["b.c"] == directory["b"]["c"] == KVSDir(handle)["top"]["d"]["b"]["c"] == 2
    with directory:
        del directory["a"]
        directory.fill({"x.y": 3})
        directory.mkdir("z", {"w": 4})
    assert flux.kvs.get(handle, "top.d.x.y") == 3
    assert flux.kvs.get(handle, "top.d.z.w") == 4
    assert not flux.kvs.exists(handle, "top.d.a")


def test_a_directory_is_a_mapping(handle: flux.Flux) -> None:
    values = {"a": 1, "b": "two", "c": [3]}
    directory = KVSDir(handle).mkdir("d", values)
    assert set(directory) == set(directory.keys()) == values.keys()
    assert dict(directory.items()) == dict(directory) == values
    assert len(directory) == len(values)
    assert directory.get("none", 7) == 7


def test_files_and_directories_are_told_apart(handle: flux.Flux) -> None:
    directory = KVSDir(handle).mkdir("d", {"file": 1, "sub.x": 2, "other.x": 3})
    for name, target in (("to_dir", "d.sub"), ("to_file", "d.file"), ("to_nothing", "none")):
        flux.kvs.put_symlink(handle, f"d.{name}", target)
    flux.kvs.commit(handle)
    assert set(directory.files()) == {"file", "to_file", "to_nothing"}
    assert set(directory.directories()) == {"sub", "other", "to_dir"}
    files, directories = directory.list_all()
    assert (sorted(files), sorted(directories)) == (sorted(directory.files()), sorted(directory.directories()))


def test_a_walk_shows_every_directory_in_the_order_asked_for(handle: flux.Flux) -> None:
    KVSDir(handle).mkdir("top", {"f": 1, "a.f": 2, "a.x.f": 3, "b.f": 4})
    flux.kvs.put_symlink(handle, "top.round", "top")
    flux.kvs.commit(handle)
    found = list(flux.kvs.walk("top", topdown=True, flux_handle=handle))
    assert [(path, sorted(directories), files) for path, directories, files in found] == [
        ("", ["a", "b", "round"], ["f"]),
        ("a", ["x"], ["f"]),
        ("a.x", [], ["f"]),
        ("b", [], ["f"]),
    ]
    upwards = [path for path, _, _ in flux.kvs.walk(KVSDir(handle, "top"))]
    assert upwards == ["a.x", "a", "b", ""]
    with pytest.raises(ValueError, match="flux_handle"):
        next(flux.kvs.walk("top"))


def test_a_walk_goes_as_deep_as_keys_are(handle: flux.Flux) -> None:
    put(handle, **{".".join("x" * 1500): 1})
    assert len(list(flux.kvs.walk("x.x", flux_handle=handle))) == 1498


def test_a_block_that_raises_commits_nothing(handle: flux.Flux) -> None:
    directory = KVSDir(handle)
    directory["k"] = 1
    with pytest.raises(ZeroDivisionError), directory:
        1 / 0  # noqa: B018 to raise
    directory.commit()
    assert not flux.kvs.exists(handle, "k")


# Namespaces


def test_namespaces_are_listed_made_and_removed(handle: flux.Flux) -> None:
    flux.kvs.namespace_create(handle, "new")
    with pytest.raises(FileExistsError):
        flux.kvs.namespace_create(handle, "new")
    assert {"primary", "new"} <= set(flux.kvs.namespace_list(handle))
    flux.kvs.namespace_remove(handle, "new")
    flux.kvs.namespace_remove(handle, "new")
    assert "new" not in flux.kvs.namespace_list(handle)
    with pytest.raises(OSError, match="not supported"):
        flux.kvs.get(handle, "k", namespace="new")


def test_a_namespace_has_its_own_keys(handle: flux.Flux, namespace: str) -> None:
    put(handle, mine=1)
    put(handle, namespace, theirs=2, **{"d.k": 3})
    assert flux.kvs.get(handle, "theirs", namespace=namespace) == 2
    for key, elsewhere in (("mine", namespace), ("theirs", None)):
        with pytest.raises(FileNotFoundError):
            flux.kvs.get(handle, key, namespace=elsewhere)
    assert flux.kvs.exists(handle, "d", namespace)
    assert flux.kvs.isdir(handle, "d", namespace)
    assert not flux.kvs.exists(handle, "d")
    assert not flux.kvs.isdir(handle, "d")
    flux.kvs.put_unlink(handle, "d")
    flux.kvs.commit(handle, namespace=namespace)
    assert not flux.kvs.exists(handle, "d", namespace)


def test_the_environment_names_the_namespace(
    handle: flux.Flux, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUX_KVS_NAMESPACE", namespace)
    put(handle, k=1)
    assert flux.kvs.exists(handle, "k")
    assert not flux.kvs.exists(handle, "k", namespace="primary")


def test_a_directory_stays_in_its_namespace(handle: flux.Flux, namespace: str) -> None:
    directory: Any = KVSDir(handle, namespace=namespace)
    directory.fill({"d.file": 1})
    directory.mkdir("d.sub", {"x": 2})
    below = KVSDir(handle, "d", namespace=namespace)
    assert (list(below.files()), list(below.directories()), below.list_all()) == (
        ["file"],
        ["sub"],
        (["file"], ["sub"]),
    )
    assert directory["d"]["sub"]["x"] == 2
    walked = [path for path, _, _ in flux.kvs.walk("d", True, handle, namespace)]
    assert walked == ["", "sub"]
    assert not flux.kvs.exists(handle, "d")


def test_keys_of_a_walk_are_joined(handle: flux.Flux) -> None:
    KVSDir(handle).mkdir("t", {"d.e.k": 1, "top": 2})
    found = {
        flux.kvs.join("t", path, name) for path, _, files in flux.kvs.walk("t", flux_handle=handle) for name in files
    }
    assert found == {"t.d.e.k", "t.top"}


def test_a_directory_is_filled_with_a_mapping_and_wraps_no_c_object(handle: flux.Flux) -> None:
    with pytest.raises(ValueError, match="contents must be a mapping"):
        KVSDir(handle).fill(None)  # type: ignore[arg-type]  # the refusal is the point
    with pytest.raises(flux.wrapper.InvalidArguments, match="no C object"):
        KVSDir(handle, ".", 5)  # type: ignore[arg-type]  # the refusal is the point
