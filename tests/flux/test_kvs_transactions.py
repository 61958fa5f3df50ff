"""Transactions of flux.kvs: what is staged where, and what a commit makes of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import flux
import flux.kvs
from flux.kvs import KVSDir, KVSTxn

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def handle(broker: str) -> Iterator[flux.Flux]:
    """Everything below `t` is gone when the test is over."""
    with flux.Flux(broker) as connected:
        KVSDir(connected).mkdir("t")
        yield connected
        flux.kvs.put_unlink(connected, "t")
        flux.kvs.commit(connected)


def test_a_transaction_takes_every_operation(handle: flux.Flux) -> None:
    txn = KVSTxn(handle)
    txn.mkdir("t.d")
    txn.put("t.d.k", {"a": 1})
    txn.put("t.raw", "text", raw=True)
    txn.symlink("t.link", "t.d.k")
    txn.put("t.goes", 1)
    txn.unlink("t.goes")
    assert not flux.kvs.exists(handle, "t.d")
    txn.commit()
    assert [flux.kvs.get(handle, key) for key in ("t.d.k", "t.link", "t.raw")] == [{"a": 1}, {"a": 1}, "text"]
    assert not flux.kvs.exists(handle, "t.goes")


def test_a_transaction_needs_a_handle() -> None:
    with pytest.raises(ValueError, match="flux_handle"):
        KVSTxn()


def test_keys_are_relative_to_the_path_and_targets_are_not(handle: flux.Flux) -> None:
    txn = KVSTxn(handle, "t.d")
    txn.put("k", 1)
    txn.mkdir("sub")
    txn.symlink("link", "t.d.k")
    txn.commit()
    assert flux.kvs.get(handle, "t.d.link") == 1
    assert flux.kvs.isdir(handle, "t.d.sub")


def test_a_transaction_commits_to_its_namespace(handle: flux.Flux) -> None:
    flux.kvs.namespace_create(handle, "ns")
    txn = KVSTxn(handle, namespace="ns")
    txn.put("k", 1)
    txn.commit()
    assert flux.kvs.get(handle, "k", "ns") == 1
    assert not flux.kvs.exists(handle, "k")
    flux.kvs.namespace_remove(handle, "ns")


def test_a_block_commits_at_its_end_unless_it_raises(handle: flux.Flux) -> None:
    with KVSTxn(handle, "t") as txn:
        txn.put("k", 1)
        assert not flux.kvs.exists(handle, "t.k")
    assert flux.kvs.get(handle, "t.k") == 1
    txn.put("k", 2)
    with pytest.raises(ZeroDivisionError), txn:
        1 / 0  # noqa: B018 to raise
    txn.commit()
    assert flux.kvs.get(handle, "t.k") == 1


def test_what_was_cleared_is_not_committed(handle: flux.Flux) -> None:
    txn = KVSTxn(handle, "t")
    txn.put("k", 1)
    txn.clear()
    txn.commit()
    assert not flux.kvs.exists(handle, "t.k")


def test_functions_stage_in_the_transaction_they_are_given(handle: flux.Flux) -> None:
    txn = KVSTxn(handle)
    flux.kvs.put_mkdir(handle, "t.d", _kvstxn=txn)
    flux.kvs.put(handle, "t.d.k", 1, _kvstxn=txn)
    flux.kvs.put_symlink(handle, "t.link", "t.d.k", _kvstxn=txn)
    flux.kvs.put_unlink(handle, "t.none", _kvstxn=txn)
    flux.kvs.commit(handle)
    assert not flux.kvs.exists(handle, "t.d")
    flux.kvs.commit(handle, _kvstxn=txn)
    assert flux.kvs.get(handle, "t.link") == 1


@pytest.mark.parametrize("kind", [KVSTxn, KVSDir])
def test_two_transactions_are_independent(handle: flux.Flux, kind: type) -> None:
    first, second = kind(handle), kind(handle)
    for staged, key in ((first, "t.first"), (second, "t.second")):
        if isinstance(staged, KVSDir):
            staged[key] = 1
        else:
            staged.put(key, 1)
    second.commit()
    assert (flux.kvs.exists(handle, "t.first"), flux.kvs.exists(handle, "t.second")) == (False, True)
    first.commit()
    assert flux.kvs.exists(handle, "t.first")


def test_a_directory_in_a_directory_stages_with_it(handle: flux.Flux) -> None:
    KVSDir(handle, "t").mkdir("a.b", {"k": 1})
    directory = KVSDir(handle, "t")
    below = directory["a"]["b"]
    below["new"] = 2
    del directory["a"]["b"]["k"]
    assert flux.kvs.exists(handle, "t.a.b.k")
    directory.commit()
    assert dict(below) == {"new": 2}


def test_a_directory_stages_in_the_transaction_it_is_given(handle: flux.Flux) -> None:
    txn = KVSTxn(handle)
    for directory in (flux.kvs.get(handle, "t", _kvstxn=txn), flux.kvs.get_dir(handle, "t", _kvstxn=txn)):
        directory[f"k{len(txn.operations)}"] = 1
    assert list(KVSDir(handle, "t")) == []
    txn.commit()
    assert list(KVSDir(handle, "t")) == ["k0", "k1"]


def test_to_hold_a_directory_commits_nothing(handle: flux.Flux) -> None:
    KVSDir(handle, "t").mkdir("a.b", {"k": 1})
    directory = KVSDir(handle, "t")
    held = [directory["a"], directory["a"]["b"]]
    held[0]["x"] = 1
    held.clear()
    assert not flux.kvs.exists(handle, "t.a.x")
    directory.commit()
    assert flux.kvs.exists(handle, "t.a.x")


def test_threads_that_share_a_handle_commit_what_they_stage_and_lose_nothing(handle: flux.Flux) -> None:
    def store(name: int) -> None:
        for number in range(20):
            flux.kvs.put(handle, f"t.{name}.{number}", number)
            flux.kvs.commit(handle)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(8)))
    assert [len(KVSDir(handle, f"t.{name}")) for name in range(8)] == [20] * 8


def test_commits_need_not_be_waited_for(handle: flux.Flux) -> None:
    flux.kvs.put(handle, "t.module", 1)
    txn = KVSTxn(handle, "t")
    txn.put("txn", 2)
    given = KVSTxn(handle)
    given.put("t.given", 3)
    directory = KVSDir(handle, "t")
    directory["dir"] = 4
    futures = [
        flux.kvs.commit_async(handle),
        txn.commit_async(),
        flux.kvs.commit_async(handle, _kvstxn=given),
        directory.commit_async(),
    ]
    for future in futures:
        future.get()
    assert dict(directory) == {"module": 1, "txn": 2, "given": 3, "dir": 4}


def test_a_commit_calls_back_from_the_reactor_even_one_of_nothing(handle: flux.Flux) -> None:
    called: list[object] = []
    flux.kvs.put(handle, "t.k", 1)
    for future in (flux.kvs.commit_async(handle), flux.kvs.commit_async(handle)):
        future.then(lambda done: called.append(done.get()))
    assert handle.reactor_run() >= 0
    assert len(called) == 2


def test_what_is_staged_goes_with_its_handle(broker: str) -> None:
    with flux.Flux(broker) as first:
        flux.kvs.put(first, "t.never", 1)
    with flux.Flux(broker) as second:
        flux.kvs.commit(second)
        assert not flux.kvs.exists(second, "t.never")
