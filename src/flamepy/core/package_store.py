# SPDX-License-Identifier: Apache-2.0
"""Where packages of programs are put, so that whoever runs them can get them: a folder, or a server that takes PUT."""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from flamepy.core.types import FlameError, FlameErrorCode

__all__ = ["package_url", "store_package"]

_PUT_S = 300.0
_CHUNK_BYTES = 1 << 20
_GOOD = (http.client.OK, http.client.CREATED, http.client.NO_CONTENT)


def package_url(storage: str, key: str) -> str:
    """The url that a package gets. Raises FlameError INVALID_CONFIG for a storage of a kind that is not served."""
    try:
        parts = urllib.parse.urlsplit(storage)
    except ValueError as error:
        raise _invalid(storage, f"it is no url ({error})") from None
    scheme = parts.scheme.lower()
    if scheme in ("grpc", "grpcs"):
        raise _invalid(storage, "the object cache is not here yet")
    if scheme not in ("file", "http", "https"):
        raise _invalid(storage, f"scheme {scheme!r} is not served")
    if scheme == "file" and (parts.netloc not in ("", "localhost") or not parts.path.startswith("/")):
        raise _invalid(storage, "the path of the folder is not absolute")
    return f"{storage.rstrip('/')}/{urllib.parse.quote(key)}"


def store_package(storage: str, key: str, package: IO[bytes]) -> str:
    """Put a package there under the key; its url. What a folder has already under that key is left as it is.

    Raises FlameError INVALID_CONFIG if the storage is none, INTERNAL if it does not take the package.
    """
    url = package_url(storage, key)
    try:
        if storage.lower().startswith("file:"):
            _copy(Path(urllib.parse.unquote(urllib.parse.urlsplit(storage).path)), key, package)
        else:
            _put(url, package)
    except urllib.error.HTTPError as error:
        with error:
            raise _failed(url, f"the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _failed(url, str(reason)) from error
    return url


def _copy(folder: Path, key: str, package: IO[bytes]) -> None:
    if not folder.is_dir():
        raise _invalid(folder.as_uri(), "there is no such folder; make it first")
    target = folder / key
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        with partial.open("xb") as written:
            while chunk := package.read(_CHUNK_BYTES):
                written.write(chunk)
            os.fsync(written.fileno())
        partial.rename(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def _put(url: str, package: IO[bytes]) -> None:
    size = package.seek(0, os.SEEK_END)
    package.seek(0)
    headers = {"Content-Length": str(size), "Content-Type": "application/gzip", "User-Agent": "flamepy"}
    request = urllib.request.Request(url, data=package, headers=headers, method="PUT")
    with urllib.request.urlopen(request, timeout=_PUT_S) as answer:
        if answer.status not in _GOOD:
            raise http.client.HTTPException(f"the server answered {answer.status} {answer.reason}")


def _invalid(storage: str, problem: str) -> FlameError:
    return FlameError(
        FlameErrorCode.INVALID_CONFIG, f"package storage {storage!r}: {problem}; use file:///FOLDER, or http(s)://…"
    )


def _failed(url: str, problem: str) -> FlameError:
    return FlameError(FlameErrorCode.INTERNAL, f"the package cannot be stored at {url}: {problem}")
