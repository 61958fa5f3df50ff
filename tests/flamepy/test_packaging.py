"""The same files give the same package, byte for byte; and a package is stored once, whole, or it is told why not."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from flamepy import FlameErrorCode
from flamepy.core.package_store import package_url, store_package
from flamepy.core.packaging import pack
from tests.conftest import expect_refusal
from tests.hearth.installers.packages import serving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def packed(path: Path, excludes: Sequence[str] = ()) -> bytes:
    file = io.BytesIO()
    pack(path, file, excludes)
    return file.getvalue()


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def make(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


def test_the_same_files_make_the_same_package_whoever_made_them_when_and_in_which_order(tmp_path: Path) -> None:
    paths = ["b/2", "a", "b/1", "c/d/e"]
    one = make(tmp_path / "one", *paths)
    two = make(tmp_path / "two", *reversed(paths))
    os.utime(two / "a", (1, 1))
    (two / "a").chmod(0o600)
    assert packed(one) == packed(two)
    (two / "a").chmod(0o700)
    assert packed(one) != packed(two), "whether a file can be run matters"


def test_everything_is_there_in_the_order_of_its_names(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", "z", "a/x", "a/b/y", "m")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("a/x")
    data = packed(folder)
    assert names(data) == ["a", "empty", "link", "m", "z", "a/b", "a/x", "a/b/y"]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getmember("link").linkname == "a/x"
        assert {(m.uid, m.gid, m.uname, m.mtime) for m in archive} == {(0, 0, "", 0)}
        content = archive.extractfile("a/b/y")
        assert content is not None
        assert content.read() == b"a/b/y"


def test_what_no_program_needs_is_left_out(tmp_path: Path) -> None:
    unwanted = ["dist/x", ".venv/x", "venv/x", "a/__pycache__/x.pyc", "a/x.pyo", ".git/config", "n.egg-info/x"]
    folder = make(tmp_path / "p", "a/x.py", "a/dist/x", "logs/x.log", "keep.log/x", *unwanted)
    assert names(packed(folder)) == [
        "a",
        "keep.log",
        "logs",
        "a/dist",
        "a/x.py",
        "a/dist/x",
        "keep.log/x",
        "logs/x.log",
    ]
    assert "logs/x.log" not in names(packed(folder, ["logs/*.log"]))
    assert "logs" not in names(packed(folder, ["logs"]))


def test_a_program_is_packed_where_programs_are_looked_for(tmp_path: Path) -> None:
    program = make(tmp_path, "run") / "run"
    program.chmod(0o755)
    assert names(packed(program)) == ["bin", "bin/run"]


def test_what_cannot_be_packed_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", "a")
    (folder / "out").symlink_to("../elsewhere")
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, f"{folder / 'out'} is a link to ../elsewhere, out of"):
        packed(folder)
    (folder / "out").unlink()
    os.mkfifo(folder / "pipe")
    with expect_refusal(FlameErrorCode.INVALID_ARGUMENT, f"{folder / 'pipe'} is neither a file"):
        packed(folder)
    assert names(packed(folder, ["pipe"])) == ["a"]


# -- stores


def test_a_folder_takes_a_package_once(tmp_path: Path) -> None:
    url = store_package(tmp_path.as_uri(), "app/pkg/app-1.tar.gz", io.BytesIO(b"content"))
    assert url == f"{tmp_path.as_uri()}/app/pkg/app-1.tar.gz" == package_url(tmp_path.as_uri(), "app/pkg/app-1.tar.gz")
    stored = tmp_path / "app/pkg/app-1.tar.gz"
    assert stored.read_bytes() == b"content"
    store_package(tmp_path.as_uri(), "app/pkg/app-1.tar.gz", io.BytesIO(b"other"))
    assert stored.read_bytes() == b"content"
    assert os.listdir(stored.parent) == ["app-1.tar.gz"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_url_has_the_key_behind_the_storage(host: str) -> None:
    assert package_url(f"http://{host}:80/s/", "a/pkg/a-1.tar.gz") == f"http://{host}:80/s/a/pkg/a-1.tar.gz"


@pytest.mark.parametrize(
    ("storage", "text"),
    [
        ("file:///no/such/folder", "there is no such folder; make it first"),
        ("file://relative", "the path of the folder is not absolute"),
        ("grpc://127.0.0.1:9090", "the object cache is not here yet"),
        ("http://[::1", "it is no url"),
        ("s3://bucket", "scheme 's3' is not served"),
        ("/just/a/path", "scheme '' is not served"),
    ],
)
def test_what_is_no_storage_is_told(storage: str, text: str) -> None:
    with expect_refusal(FlameErrorCode.INVALID_CONFIG, storage, text):
        store_package(storage, "a/pkg/a-1.tar.gz", io.BytesIO(b""))


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_server_takes_a_package_by_put(status: int) -> None:
    with serving() as server:
        server.answers["/s/a/pkg/a-1.tar.gz"] = (status, {}, b"")
        url = store_package(f"{server.url}/s", "a/pkg/a-1.tar.gz", io.BytesIO(b"x" * 100_000))
        assert url == f"{server.url}/s/a/pkg/a-1.tar.gz"
        ((method, path, headers, body),) = server.requests
        assert (method, path, body) == ("PUT", "/s/a/pkg/a-1.tar.gz", b"x" * 100_000)
        assert headers["Content-Type"] == "application/gzip"


@pytest.mark.parametrize("status", [202, 403, 500])
def test_a_server_that_does_not_take_it_is_told(status: int) -> None:
    with serving() as server:
        server.answers["/a"] = (status, {}, b"")
        with expect_refusal(FlameErrorCode.INTERNAL, f"{server.url}/a", f"the server answered {status}"):
            store_package(server.url, "a", io.BytesIO(b"x"))


def test_a_server_that_is_not_there_is_told() -> None:
    with expect_refusal(FlameErrorCode.INTERNAL, "http://127.0.0.1:1/a", "refused"):
        store_package("http://127.0.0.1:1", "a", io.BytesIO(b"x"))


def test_a_folder_that_takes_nothing_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a file where a folder has to be")
    with expect_refusal(FlameErrorCode.INTERNAL, "cannot be stored at"), contextlib.closing(io.BytesIO(b"x")) as data:
        store_package(tmp_path.as_uri(), "a/b", data)
    assert os.listdir(tmp_path) == ["a"]
