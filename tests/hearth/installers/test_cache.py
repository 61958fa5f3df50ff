"""What is installed appears whole or not at all, once, whoever asks for it at the same time."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hearth.installers.cache import InstallCache, default_cache_folder
from hearth.installers.failure import InstallFailed
from hearth.installers.installation import Installation
from hearth.installers.source import Remembered
from tests.conftest import SOURCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

MADE = Installation(path=["bin"])


def put(cache: InstallCache, key: str, unused_s: float = 0.0) -> Path:
    """An entry, last used so long ago."""

    def build(folder: Path) -> Installation:
        (folder / "file").write_bytes(b"x")
        return MADE

    cache.get_or_build(key, build)
    entry = cache.folder / "entries" / key
    os.utime(entry, (then := time.time() - unused_s, then))
    return entry


def test_what_is_built_is_there_for_all_later_with_its_own_folders(cache: InstallCache) -> None:
    entry = put(cache, "k")
    expected = Installation(path=[str(entry / "bin")])
    assert cache.read("k") == expected
    assert InstallCache(cache.folder).get_or_build("k", lambda folder: pytest.fail("built again")) == expected
    assert (entry / "file").read_bytes() == b"x"


def test_eight_at_the_same_time_build_once(cache: InstallCache) -> None:
    built: list[Path] = []
    asking: list[int] = []

    def build(folder: Path) -> Installation:
        built.append(folder)
        wait_until(lambda: len(asking) == 8, "all ask for it")
        return MADE

    def ask(number: int) -> Installation:
        asking.append(number)
        return InstallCache(cache.folder).get_or_build("k", build)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(ask, range(8)))
    assert len(built) == 1
    assert len({str(result) for result in results}) == 1


def test_a_failure_is_not_kept_and_the_next_one_tries_again(cache: InstallCache) -> None:
    def fail(folder: Path) -> Installation:
        (folder / "half").write_bytes(b"")
        raise InstallFailed("no luck")

    for _ in range(2):
        with pytest.raises(InstallFailed, match="no luck"):
            cache.get_or_build("k", fail)
        assert not os.listdir(cache.folder / "partial")
        assert cache.read("k") is None
    assert cache.get_or_build("k", lambda folder: MADE) == cache.read("k")


BUILD_AND_HANG = """
import sys, time
from pathlib import Path
from hearth.installers.cache import InstallCache

def build(folder):
    (folder / "half").write_bytes(b"")
    print("building", flush=True)
    time.sleep(1000)

InstallCache(Path(sys.argv[1])).get_or_build("k", build)
"""


def test_what_a_killed_process_left_half_done_is_removed_but_not_while_it_works(cache: InstallCache) -> None:
    partial = cache.folder / "partial"
    command = [sys.executable, "-c", BUILD_AND_HANG, str(cache.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(SOURCE)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building\n"
        cache.sweep()
        assert len(list(partial.glob("k.*/half"))) == 1
        process.send_signal(signal.SIGKILL)
    assert len(list(partial.glob("k.*/half"))) == 1
    cache.sweep()
    assert not list(partial.iterdir())
    assert cache.read("k") is None


def test_what_was_left_half_done_is_not_taken_for_a_beginning(cache: InstallCache) -> None:
    (cache.folder / "partial/k.killed").mkdir()
    (cache.folder / "partial/k.killed/half").touch()
    put(cache, "k")
    assert sorted(os.listdir(cache.folder / "entries/k")) == ["file", "installation.json"]


def test_beyond_thirty_two_entries_those_go_that_were_not_used_for_longest(cache: InstallCache) -> None:
    for number in range(35):
        put(cache, f"k{number}", unused_s=number * 60.0)
    cache.sweep()
    assert set(os.listdir(cache.folder / "entries")) == {f"k{number}" for number in range(32)}
    assert not os.listdir(cache.folder / "partial")


def test_what_was_not_used_for_a_month_goes_unless_it_is_held(cache: InstallCache) -> None:
    for key in ("held", "old", "new"):
        put(cache, key)
    descriptor = cache.hold("held")
    assert descriptor is not None
    month_ago = time.time() - 31 * 86400
    for key in ("held", "old"):
        os.utime(cache.folder / "entries" / key, (month_ago, month_ago))
    cache.sweep()
    assert sorted(os.listdir(cache.folder / "entries")) == ["held", "new"]
    os.close(descriptor)
    cache.sweep()
    assert os.listdir(cache.folder / "entries") == ["new"]


def test_using_an_entry_keeps_it(cache: InstallCache) -> None:
    put(cache, "k", unused_s=31 * 86400)
    cache.read("k")
    cache.sweep()
    assert cache.read("k") is not None


def test_what_is_gone_cannot_be_held(cache: InstallCache) -> None:
    assert cache.hold("never") is None
    shutil.rmtree(put(cache, "k"))
    assert cache.hold("k") is None


def test_an_entry_that_is_swept_away_right_now_is_as_good_as_gone(cache: InstallCache) -> None:
    put(cache, "k")
    with (cache.folder / "locks/k").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cache.hold("k") is None


def test_what_a_server_said_is_remembered_by_url(cache: InstallCache) -> None:
    assert cache.remembered("http://a") is None
    cache.remember("http://a", Remembered("d", "e"))
    assert cache.remembered("http://a") == Remembered("d", "e")
    assert cache.remembered("http://b") is None


def test_the_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache_folder() == tmp_path / ".cache/hearth"
    monkeypatch.setenv("HOME", "no folder")
    with pytest.raises(OSError, match="set XDG_CACHE_HOME"):
        InstallCache(default_cache_folder()).make_folders()
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert str(default_cache_folder()) == "/elsewhere/hearth"
