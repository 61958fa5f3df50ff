"""Executors are prepared one by one or together, without holding up the loop, and each is told once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from flamepy.core.types import ApplicationAttributes
from hearth.engine.model import Resources
from hearth.installers.cache import InstallCache
from hearth.providers import preparation
from hearth.providers.base import Launch
from hearth.providers.preparation import Preparations
from tests.hearth.installers.packages import PLAIN, serving, tar_of

if TYPE_CHECKING:
    from pathlib import Path

    from hearth.installers.installation import Installation

DEADLINE_S = 30.0


class Told:
    """What the preparations said of each executor."""

    def __init__(self, folder: Path) -> None:
        self.prepared: dict[str, Installation | None] = {}
        self.refused: dict[str, str] = {}
        self.cache = InstallCache(folder)
        self.preparations = Preparations(self.cache, self._on_prepared, self._on_refused)
        self._something = asyncio.Event()

    def _on_prepared(self, launch: Launch, installation: Installation | None) -> None:
        assert launch.executor_id not in self.prepared.keys() | self.refused.keys()
        self.prepared[launch.executor_id] = installation
        self._something.set()

    def _on_refused(self, launch: Launch, why: str) -> None:
        assert launch.executor_id not in self.prepared.keys() | self.refused.keys()
        self.refused[launch.executor_id] = why
        self._something.set()

    def begin(self, executor_id: str, **attributes: object) -> None:
        launch = Launch(executor_id, "session", "app", ApplicationAttributes(**attributes), Resources(1, 1, 0))  # type: ignore[arg-type]
        self.preparations.begin(launch)

    async def about(self, *executor_ids: str) -> None:
        """Wait until all of these were told of."""
        while not set(executor_ids) <= self.prepared.keys() | self.refused.keys():
            self._something.clear()
            await asyncio.wait_for(self._something.wait(), DEADLINE_S)

    @property
    def entries(self) -> list[str]:
        return os.listdir(self.cache.folder / "entries")


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "plain.tgz"
    path.write_bytes(tar_of(PLAIN))
    return path.as_uri()


def test_without_an_installer_nothing_is_prepared_and_nothing_is_made(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told(tmp_path / "cache")
        told.begin("e", url="file:///x")
        assert told.prepared == {"e": None}

    asyncio.run(run())
    assert not (tmp_path / "cache").exists()


def test_python_without_a_url_is_there_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/one:relative")
    relative = os.path.abspath("relative")

    async def run() -> None:
        told = Told(tmp_path / "cache")
        told.begin("e", installer="PYTHON", environments={"FLAME_PYTHON_VERSION": "python3.12"})
        environment = {"PATH": "/bin", "PYTHONPATH": "/own", "UV_CACHE_DIR": "/uv"}
        installation = told.prepared["e"]
        assert installation is not None
        installation.apply(environment)
        assert environment == {
            "PATH": "/bin",
            "PYTHONPATH": f"/one:{relative}:/own",
            "UV_CACHE_DIR": "/uv",
            "PIP_CACHE_DIR": str(tmp_path / "cache/pip"),
            "FLAME_PYTHON_VERSION": "3.12",
        }

    asyncio.run(run())


def test_what_is_installed_is_given_at_once_until_the_file_changes(tmp_path: Path, url: str) -> None:
    async def run() -> None:
        told = Told(tmp_path / "cache")
        told.begin("first", installer="python", url=url)
        assert not told.prepared
        await told.about("first")
        told.begin("second", installer="python", url=url)
        assert told.prepared["second"] == told.prepared["first"]
        (tmp_path / "plain.tgz").write_bytes(tar_of({**PLAIN, "new": b""}))
        told.begin("third", installer="python", url=url)
        await told.about("third")
        assert told.prepared["third"] != told.prepared["first"]
        (tmp_path / "plain.tgz").unlink()
        told.begin("fourth", installer="python", url=url)
        await told.about("fourth")
        assert "No such file" in told.refused["fourth"]

    asyncio.run(run())


@pytest.mark.parametrize(("fresh_s", "asked"), [(60.0, 1), (0.0, 2)])
def test_a_server_is_asked_again_only_after_a_while(
    fresh_s: float, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_FRESH_S", fresh_s)

    async def run() -> None:
        with serving() as server:
            server.answers["/p.tgz"] = (200, {}, tar_of(PLAIN))
            told = Told(tmp_path / "cache")
            for name in ("one", "two"):
                told.begin(name, installer="python", url=f"{server.url}/p.tgz")
                await told.about(name)
            assert told.prepared["one"] == told.prepared["two"]
            assert len(server.requests) == asked

    asyncio.run(run())


def test_what_an_executor_uses_is_kept_until_it_has_ended(tmp_path: Path, url: str) -> None:
    async def run() -> None:
        told = Told(tmp_path / "cache")
        told.begin("e", installer="python", url=url)
        await told.about("e")
        (key,) = told.entries
        os.utime(told.cache.folder / "entries" / key, (0, 0))
        told.cache.sweep()
        assert told.entries == [key]
        told.preparations.release("e")
        told.cache.sweep()
        assert told.entries == []
        told.begin("again", installer="python", url=url)
        await told.about("again")
        assert told.entries == [key]

    asyncio.run(run())


def test_an_installation_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "_LIMIT_S", 0.5)

    async def run() -> None:
        with serving() as server:
            server.answers["/hang.tar.gz"] = (200, {"Content-Length": "9999"}, b"x")
            told = Told(tmp_path / "cache")
            told.begin("e", installer="python", url=f"{server.url}/hang.tar.gz")
            await told.about("e")
            assert told.refused == {"e": "it took longer than 0.5 s"}

    asyncio.run(run())


def test_who_is_cancelled_is_told_nothing_and_the_others_get_theirs(tmp_path: Path, url: str) -> None:
    async def run() -> None:
        told = Told(tmp_path / "cache")
        for name in ("one", "two", "three"):
            told.begin(name, installer="python", url=url)
        assert told.preparations.waiting == ["one", "two", "three"]
        assert told.preparations.cancel("two")
        assert not told.preparations.cancel("two")
        await told.about("one", "three")
        assert "two" not in told.prepared.keys() | told.refused.keys()
        told.begin("four", installer="python", url="file:///other.tgz")
        assert told.preparations.cancel("four")
        told.begin("five", installer="python", url="file:///other.tgz")
        await told.about("five")
        assert "No such file" in told.refused["five"], "the cancelled one's end is not its failure"
        await told.preparations.wait_until_ended()
        assert "four" not in told.prepared.keys() | told.refused.keys()

    asyncio.run(run())


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").touch()

    async def run() -> None:
        told = Told(tmp_path / "file/cache")
        told.begin("e", installer="python", url=url)
        assert not told.refused, "never from within"
        await told.about("e")
        assert f"Not a directory: {tmp_path / 'file/cache'}" in told.refused["e"]

    asyncio.run(run())
