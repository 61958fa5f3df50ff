"""What a url names is there, or it is told why not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from hearth.installers.failure import InstallFailed
from hearth.installers.source import Remembered, open_source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.hearth.installers.packages import Answer, Server

DATA = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(DATA).hexdigest()


def refusal(url: str, folder: Path, remembered: Remembered | None = None) -> str:
    with pytest.raises(InstallFailed) as refused, open_source(url, folder, remembered):
        pass
    return str(refused.value)


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a b.tar.gz"
    path.write_bytes(DATA)
    for url in (path.as_uri(), f"file://localhost{path.as_uri().removeprefix('file://')}"):
        with open_source(url, tmp_path) as source:
            assert source.file is not None
            assert (source.name, source.digest, source.file.read()) == ("a b.tar.gz", DIGEST, DATA)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("file:///no/such/file.zip", "No such file"),
        ("file:///tmp", "is a folder; pack it: hearth app deploy"),
        ("file://elsewhere/a.zip", "want file:///PATH"),
        ("file:relative.zip", "want file:///PATH"),
        ("ftp://host/a.zip", "scheme 'ftp' is not served"),
        ("/just/a/path.zip", "scheme '' is not served"),
        ("grpc://127.0.0.1:9090/app/pkg/x.tar.gz", "the object cache is not here yet"),
        ("grpcs://127.0.0.1:9090/app/pkg/x.tar.gz", "the object cache is not here yet"),
        ("http://127.0.0.1:1/a.zip", "refused"),
        ("http://127.0.0.1:port/a.zip", "cannot be fetched"),
        ("http://", "cannot be fetched"),
        ("http://[::1/a.zip", "is no url"),
    ],
)
def test_what_cannot_be_had_is_told_with_the_url_and_the_reason(url: str, text: str, tmp_path: Path) -> None:
    told = refusal(url, tmp_path)
    assert url in told
    assert text in told


def test_a_package_is_fetched_over_http(server: Server, tmp_path: Path) -> None:
    server.answers["/p/a%20b.zip?token=1"] = (200, {"ETag": '"7"', "Last-Modified": "yesterday"}, DATA)
    with open_source(f"{server.url}/p/a%20b.zip?token=1", tmp_path) as source:
        assert source.file is not None
        assert (source.name, source.digest, source.file.read()) == ("a b.zip", DIGEST, DATA)
        assert source.remembered == Remembered(DIGEST, '"7"', "yesterday")
    assert list(tmp_path.iterdir()) == [], "what was fetched is gone with the block"


def test_what_has_not_changed_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    def answer(headers: Mapping[str, str]) -> Answer:
        is_known = (headers.get("If-None-Match"), headers.get("If-Modified-Since")) == ('"7"', "yesterday")
        return (304, {}, b"") if is_known else (200, {}, DATA)

    server.answers["/a.zip"] = answer
    known = Remembered("digest of it", '"7"', "yesterday")
    with open_source(f"{server.url}/a.zip", tmp_path, known) as source:
        assert (source.file, source.digest, source.remembered) == (None, "digest of it", known)
    with open_source(f"{server.url}/a.zip", tmp_path, Remembered("old", '"6"')) as source:
        assert source.digest == DIGEST


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_package_that_is_not_there_is_not_replaced_by_an_old_one(status: int, server: Server, tmp_path: Path) -> None:
    server.answers["/a.zip"] = (status, {}, b"")
    assert f"the server answered {status}" in refusal(f"{server.url}/a.zip", tmp_path, Remembered("old"))


def test_a_server_that_is_down_does_not_stop_what_is_installed(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["/a.zip"] = (503, {}, b"")
    for url in (f"{server.url}/a.zip", "http://127.0.0.1:1/a.zip"):
        with open_source(url, tmp_path, Remembered("old")) as source:
            assert (source.file, source.digest) == (None, "old")
        assert f"{url} cannot be fetched" in caplog.messages[-1]


def test_a_server_that_hangs_up_in_the_middle_is_told(server: Server, tmp_path: Path) -> None:
    server.answers["/a.zip"] = (200, {"Content-Length": str(len(DATA) + 7)}, DATA)
    assert "hung up 7 bytes before the end" in refusal(f"{server.url}/a.zip", tmp_path)


def test_a_redirection_is_followed_but_not_to_a_file_of_this_machine(server: Server, tmp_path: Path) -> None:
    server.answers |= {"/a.zip": (302, {"Location": "/b.zip"}, b""), "/b.zip": (200, {}, DATA)}
    with open_source(f"{server.url}/a.zip", tmp_path) as source:
        assert (source.name, source.digest) == ("a.zip", DIGEST)
    server.answers["/a.zip"] = (302, {"Location": "file:///etc/passwd"}, b"")
    assert "cannot be fetched" in refusal(f"{server.url}/a.zip", tmp_path)
