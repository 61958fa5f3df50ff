"""Watches of flux.kvs: what comes, when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import flux
import flux.kvs
from flux.kvs import KVSDir, KVSWatchFuture, kvs_watch_async

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def handle(broker: str) -> Iterator[flux.Flux]:
    """Everything below `w` is gone when the test is over."""
    with flux.Flux(broker) as connected:
        KVSDir(connected).mkdir("w")
        yield connected
        flux.kvs.put_unlink(connected, "w")
        flux.kvs.commit(connected)


def put(handle: flux.Flux, key: str, value: object) -> None:
    flux.kvs.put(handle, key, value)
    flux.kvs.commit(handle)


def unlink(handle: flux.Flux, key: str) -> None:
    flux.kvs.put_unlink(handle, key)
    flux.kvs.commit(handle)


def test_a_missing_key_cannot_be_watched(handle: flux.Flux) -> None:
    with pytest.raises(FileNotFoundError):
        kvs_watch_async(handle, "w.none").get()


def test_values_arrive_until_the_watch_is_cancelled(handle: flux.Flux) -> None:
    put(handle, "w.k", 1)
    got: list[object] = []

    def on_value(watch: KVSWatchFuture, argument: str) -> None:
        value = watch.get()
        got.append((argument, value))
        if value == 1:
            flux.kvs.put(handle, "w.k", 2)
            flux.kvs.commit_async(handle)
        elif value == 2:
            watch.cancel()

    kvs_watch_async(handle, "w.k").then(on_value, "argument")
    assert handle.reactor_run() >= 0
    assert got == [("argument", 1), ("argument", 2), ("argument", None)]


def test_a_watch_can_be_waited_for(handle: flux.Flux) -> None:
    put(handle, "w.k", [1])
    watch = kvs_watch_async(handle, "w.k")
    assert watch.get() == [1]
    put(handle, "w.k", [2])
    assert watch.get() == [2]
    watch.cancel()
    assert watch.get() is None
    assert watch.get() is None


def test_without_autoreset_the_value_stays(handle: flux.Flux) -> None:
    put(handle, "w.k", 1)
    watch = kvs_watch_async(handle, "w.k")
    put(handle, "w.k", 2)
    assert [watch.get(autoreset=False) for _ in range(3)] == [1, 1, 1]
    watch.reset()
    assert watch.get() == 2


def test_a_stopped_watch_calls_back_no_more(handle: flux.Flux) -> None:
    put(handle, "w.k", 1)
    got: list[object] = []

    def on_value(watch: KVSWatchFuture) -> None:
        got.append(watch.get())
        watch.cancel(stop=True)

    kvs_watch_async(handle, "w.k").then(on_value)
    assert handle.reactor_run() >= 0
    assert got == [1]


def test_a_watch_may_wait_for_its_key(handle: flux.Flux) -> None:
    watch = kvs_watch_async(handle, "w.later", waitcreate=True)
    with pytest.raises(TimeoutError):
        watch.wait_for(0.0)
    put(handle, "w.later", 1)
    assert watch.get() == 1


def test_a_unique_watch_sees_changes_only(handle: flux.Flux) -> None:
    put(handle, "w.k", 1)
    every, changed = kvs_watch_async(handle, "w.k"), kvs_watch_async(handle, "w.k", uniq=True)
    for value in (1, 2):
        put(handle, "w.k", value)
    assert [every.get() for _ in range(3)] == [1, 1, 2]
    assert [changed.get() for _ in range(2)] == [1, 2]


def test_a_full_watch_notices_the_removal_of_its_parent(handle: flux.Flux) -> None:
    put(handle, "w.d.k", 1)
    plain, full = kvs_watch_async(handle, "w.d.k"), kvs_watch_async(handle, "w.d.k", full=True)
    assert (plain.get(), full.get()) == (1, 1)
    unlink(handle, "w.d")
    with pytest.raises(FileNotFoundError):
        full.get()
    with pytest.raises(TimeoutError):
        plain.wait_for(0.0)


def test_a_removed_key_ends_its_watch(handle: flux.Flux) -> None:
    put(handle, "w.k", 1)
    watch = kvs_watch_async(handle, "w.k")
    assert watch.get() == 1
    unlink(handle, "w.k")
    with pytest.raises(FileNotFoundError):
        watch.get()


def test_a_namespace_is_watched_and_ends_its_watches(handle: flux.Flux) -> None:
    with pytest.raises(OSError, match="not supported"):
        kvs_watch_async(handle, "k", namespace="watched").get()
    flux.kvs.namespace_create(handle, "watched")
    watch = kvs_watch_async(handle, "k", namespace="watched", waitcreate=True)
    flux.kvs.put(handle, "k", 1)
    flux.kvs.commit(handle, namespace="watched")
    assert watch.get() == 1
    flux.kvs.namespace_remove(handle, "watched")
    with pytest.raises(OSError, match="not supported"):
        watch.get()
