"""The store of a daemon process: what is there after it ended, however it ended."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import flux
import flux.kvs
from flux.constants import FLUX_KVS_SYNC
from hearth.kvs.namespaces import OLD_ROOTS_MAX
from hearth.kvs.objects import OBJECT_MAX_BYTES
from tests.conftest import Daemon, Place, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from flux.future import Future


def store_of(daemon: Daemon) -> Path:
    return daemon.statedir / "content.sqlite"


def root_of(handle: flux.Flux) -> dict[str, Any]:
    root: dict[str, Any] = handle.rpc("kvs.getroot", {"namespace": "primary"}).get()
    return root


def test_what_was_acknowledged_survives_kill_9(place: Place) -> None:
    daemon = Daemon(place)
    with flux.Flux(daemon.uri) as handle:
        for number in range(20):
            flux.kvs.put(handle, f"d.k{number}", f"{number}" * 100)
            flux.kvs.commit(handle, FLUX_KVS_SYNC if number == 10 else 0)
        flux.kvs.namespace_create(handle, "other")
        before = root_of(handle)
        daemon.kill()
    daemon = Daemon(place)
    with flux.Flux(daemon.uri) as handle:
        assert root_of(handle) == before
        assert {name: flux.kvs.get(handle, f"d.{name}") for name in flux.kvs.get_dir(handle, "d")} == {
            f"k{number}": f"{number}" * 100 for number in range(20)
        }
        assert set(flux.kvs.namespace_list(handle)) == {"primary", "other"}
    daemon.stop()


def test_the_store_is_still_there_after_a_restart(place: Place) -> None:
    for run in range(3):
        daemon = Daemon(place)
        with flux.Flux(daemon.uri) as handle:
            assert root_of(handle)["rootseq"] == run
            flux.kvs.put(handle, "k", run)
            flux.kvs.commit(handle)
        daemon.stop()
        assert store_of(daemon).stat().st_mode & 0o777 == 0o600


def test_a_commit_in_flight_is_there_whole_or_not_at_all(place: Place) -> None:
    daemon = Daemon(place)
    with flux.Flux(daemon.uri) as handle:
        acknowledged = 0
        futures = []
        for number in range(200):
            for key in ("a", "b", "c"):
                flux.kvs.put(handle, key, number)
            futures.append(flux.kvs.commit_async(handle))
        futures[50].get()
        daemon.kill()
        acknowledged = sum(_is_answered(future) for future in futures)
    daemon = Daemon(place)
    with flux.Flux(daemon.uri) as handle:
        values = {flux.kvs.get(handle, key) for key in ("a", "b", "c")}
        assert len(values) == 1
        assert values.pop() >= acknowledged - 1 >= 50
    daemon.stop()


def _is_answered(future: Future) -> bool:
    try:
        future.get()
    except ConnectionResetError:
        return False
    return True


def test_a_key_overwritten_for_ever_fills_neither_memory_nor_disk(own_daemon: Daemon) -> None:
    def sizes(handle: flux.Flux) -> tuple[int, int]:
        for number in range(4 * OLD_ROOTS_MAX):
            flux.kvs.put(handle, "k", f"{number:010000d}")
            flux.kvs.commit_async(handle)
        flux.kvs.put(handle, "last", 1)
        flux.kvs.commit(handle)
        return handle.rpc("kvs.stats-get").get()["bytes"], store_of(own_daemon).stat().st_size

    with flux.Flux(own_daemon.uri) as handle:
        sizes(handle)
        memory, disk = sizes(handle)
        for _ in range(5):
            memory_after, disk_after = sizes(handle)
        assert memory_after == memory
        assert disk_after <= 2 * disk + (4 << 20)
        assert memory_after < 2 * OLD_ROOTS_MAX * 10_000


def test_a_value_of_the_largest_size_comes_back(own_daemon: Daemon) -> None:
    with flux.Flux(own_daemon.uri) as handle:
        value = b"\0" * (OBJECT_MAX_BYTES - 200)
        flux.kvs.put(handle, "large", value)
        flux.kvs.commit(handle)
        assert flux.kvs.get(handle, "large").encode() == value
        flux.kvs.put(handle, "larger", value + bytes(1000))
        with pytest.raises(OSError, match="over 16 MiB") as refusal:
            flux.kvs.commit(handle)
        assert refusal.value.errno == errno.EFBIG
        assert flux.kvs.exists(handle, "large")
        assert not flux.kvs.exists(handle, "larger")


def test_a_watch_that_is_left_is_forgotten(own_daemon: Daemon) -> None:
    with flux.Flux(own_daemon.uri) as handle:
        flux.kvs.put(handle, "k", 1)
        flux.kvs.commit(handle)
        with flux.Flux(own_daemon.uri) as watcher:
            assert flux.kvs.kvs_watch_async(watcher, "k").get() == 1
            assert handle.rpc("kvs.stats-get").get()["watches"] == 1
        wait_until(lambda: handle.rpc("kvs.stats-get").get()["watches"] == 0, "the watch is forgotten")


def test_the_store_of_an_owned_instance_is_in_memory_only(place: Place) -> None:
    rundir = place.folder / "owned"
    command = [sys.executable, "-m", "hearth", "up", "--rundir", str(rundir), "--owner", str(os.getpid())]
    with subprocess.Popen(command, env=place.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        uri = process.stdout.readline().split()[1]
        with flux.Flux(uri) as handle:
            flux.kvs.put(handle, "k", 1)
            flux.kvs.commit(handle, FLUX_KVS_SYNC)
            assert flux.kvs.get(handle, "k") == 1
        assert not list(rundir.glob("*.sqlite*"))
        process.terminate()
    assert not rundir.exists()
