# SPDX-License-Identifier: Apache-2.0
"""Getting what an application's `url` names: a file of this machine, or one fetched over http or https."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import posixpath
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, TYPE_CHECKING, NamedTuple

import msgspec

from hearth.installers.failure import InstallFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Remembered", "Source", "file_path", "name_of", "open_source"]

log = logging.getLogger(__name__)

_FETCH_S = 300.0  # for the whole of it, as in Flame
_SILENCE_S = 30.0  # without a single byte
_CHUNK_BYTES = 1 << 20
_MAX_BYTES = 8 << 30  # as much as may be unpacked


class Remembered(msgspec.Struct, frozen=True):
    """What a server said of a url when it was fetched last, and the digest of what came."""

    digest: str
    etag: str | None = None
    last_modified: str | None = None


class Source(NamedTuple):
    """A package that is there. file is None when it is the remembered one, which was not fetched again."""

    file: IO[bytes] | None
    name: str
    """The last part of the url's path."""
    digest: str
    """SHA-256, in hex."""
    remembered: Remembered | None = None


@contextlib.contextmanager
def open_source(url: str, scratch: Path, remembered: Remembered | None = None) -> Iterator[Source]:
    """Open what the url names, for the time of the block.

    scratch: an existing folder for what is fetched. remembered: of an earlier fetch, if its content is still
    at hand; then it is not fetched again when the server says that it has not changed, or cannot be reached.
    Raises InstallFailed if there is nothing to be had.
    """
    scheme = _split(url).scheme.lower()
    if scheme == "file":
        with _open_file(url) as source:
            yield source
    elif scheme in ("http", "https"):
        with tempfile.TemporaryFile(dir=scratch) as file:
            yield _fetch(url, file, remembered)
    elif scheme in ("grpc", "grpcs"):
        raise InstallFailed(f"{url}: the object cache is not here yet; use a url of file, http or https")
    else:
        raise InstallFailed(f"{url}: scheme {scheme!r} is not served; use a url of file, http or https")


def name_of(url: str) -> str:
    """The last part of the url's path."""
    return posixpath.basename(urllib.parse.unquote(_split(url).path))


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(url)
    except ValueError as error:
        raise InstallFailed(f"{url} is no url: {error}") from None


# -- files


def file_path(url: str) -> str:
    """The path that a ``file://`` url names. Raises InstallFailed if it is not absolute, or another machine's."""
    parts = _split(url)
    path = urllib.parse.unquote(parts.path)
    is_here = parts.scheme.lower() == "file" and parts.netloc in ("", "localhost")
    if not is_here or not path.startswith("/") or "\0" in path:
        raise InstallFailed(f"{url}: want file:///PATH with an absolute path on this machine")
    return path


@contextlib.contextmanager
def _open_file(url: str) -> Iterator[Source]:
    path = file_path(url)
    if os.path.isdir(path):
        raise InstallFailed(f"{url} is a folder; pack it: hearth app deploy --application {path} --name NAME")
    try:
        file = open(path, "rb")  # noqa: SIM115 closed below; errors of the block are not its own
    except OSError as error:
        raise InstallFailed(f"{url}: {error.strerror}") from None
    with file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        file.seek(0)
        yield Source(file, name_of(url), digest.hexdigest())


# -- http


def _fetch(url: str, file: IO[bytes], remembered: Remembered | None) -> Source:
    headers = {"User-Agent": "hearth"}
    if remembered is not None and remembered.etag:
        headers["If-None-Match"] = remembered.etag
    if remembered is not None and remembered.last_modified:
        headers["If-Modified-Since"] = remembered.last_modified
    try:
        with _opener().open(urllib.request.Request(url, headers=headers), timeout=_SILENCE_S) as answer:
            digest = _copy(url, answer, file)
            known = Remembered(digest, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
            return Source(file, name_of(url), digest, known)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.NOT_MODIFIED and remembered is not None:
                return Source(None, name_of(url), remembered.digest, remembered)
            reason = f"the server answered {error.code} {error.reason}"
            if error.code < http.client.INTERNAL_SERVER_ERROR:
                raise InstallFailed(f"{url} cannot be fetched: {reason}") from None
            return _use_remembered(url, reason, remembered)
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = error.reason if isinstance(error, urllib.error.URLError) else error
        return _use_remembered(url, str(said) or type(said).__name__, remembered)


def _use_remembered(url: str, reason: str, remembered: Remembered | None) -> Source:
    """A server that is down must not stop what is installed already."""
    if remembered is None:
        raise InstallFailed(f"{url} cannot be fetched: {reason}")
    log.warning("%s cannot be fetched (%s): what was fetched last is used", url, reason)
    return Source(None, name_of(url), remembered.digest, remembered)


def _opener() -> urllib.request.OpenerDirector:
    """The usual one, but without ftp and file, to which a server could send us."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _copy(url: str, answer: http.client.HTTPResponse, file: IO[bytes]) -> str:
    """Everything that comes, into the file; returns its digest."""
    deadline = time.monotonic() + _FETCH_S
    digest = hashlib.sha256()
    size_bytes = 0
    while chunk := answer.read1(_CHUNK_BYTES):
        digest.update(chunk)
        file.write(chunk)
        size_bytes += len(chunk)
        if size_bytes > _MAX_BYTES:
            raise InstallFailed(f"{url} has more than {_MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise InstallFailed(f"{url} cannot be fetched: it takes longer than {_FETCH_S:g} s")
    if answer.length:  # read1 does not complain
        raise InstallFailed(f"{url} cannot be fetched: the server hung up {answer.length} bytes before the end")
    file.seek(0)
    return digest.hexdigest()
