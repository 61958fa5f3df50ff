# SPDX-License-Identifier: Apache-2.0
"""Unpacking .tar.gz, .tgz and .zip, so that nothing is ever written outside of the target.

The archive is not trusted: its names, links, types and sizes are checked while it is read, and what the
rules forbid refuses the whole of it. Links are made last, when no file can be written through them any more.
"""

from __future__ import annotations

import functools
import gzip
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from enum import Enum, auto
from typing import IO, TYPE_CHECKING, NamedTuple

from hearth.installers.failure import InstallFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Bounds", "is_archive", "unpack"]

_CHUNK_BYTES = 1 << 20
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, struct.error),
    NotImplementedError,  # of zipfile: a way of packing that it does not know
    ValueError,  # of zipfile: an offset before the file's beginning, a name that is no UTF-8
)


class Bounds(NamedTuple):
    """Beyond these an archive is refused. Counted as it is unpacked, whatever it says of itself."""

    size_bytes: int = 8 << 30  # a large model with its libraries; a bomb of that size still fits most disks
    entries: int = 500_000  # a Python environment with everything has some 200,000 files


class _Kind(Enum):
    FILE = auto()
    FOLDER = auto()
    LINK = auto()
    HARD_LINK = auto()
    OTHER = auto()


class _Entry(NamedTuple):
    name: str
    kind: _Kind
    is_executable: bool
    target: str
    open: Callable[[], IO[bytes] | None]


def is_archive(name: str) -> bool:
    """Whether a file of this name would be unpacked."""
    return name.endswith((".tar.gz", ".tgz", ".zip"))


def unpack(file: IO[bytes], name: str, target: Path, bounds: Bounds = Bounds()) -> None:  # noqa: B008 immutable
    """Unpack into target, which is made. name: tells the format, by its end, and is told to people.

    Raises InstallFailed if the archive is broken, larger than the bounds, or has an entry that is absolute,
    contains ``..``, is a device, or is a link that leads outside; target is then to be thrown away.
    """
    entries = _zip_entries(file) if name.endswith(".zip") else _tar_entries(file)
    target.mkdir(parents=True)
    unpacker = _Unpacker(name, target.resolve(), bounds)
    try:
        for entry in entries:
            unpacker.take(entry)
    except _BROKEN as error:
        raise InstallFailed(f"{name} is no whole archive of that kind: {error}") from error
    unpacker.make_links()


def _tar_entries(file: IO[bytes]) -> Iterator[_Entry]:
    kinds = {tarfile.DIRTYPE: _Kind.FOLDER, tarfile.SYMTYPE: _Kind.LINK, tarfile.LNKTYPE: _Kind.HARD_LINK}
    with gzip.GzipFile(fileobj=file) as unzipped:
        with tarfile.open(fileobj=unzipped, mode="r:") as archive:
            for member in archive:
                kind = _Kind.FILE if member.isreg() else kinds.get(member.type, _Kind.OTHER)
                is_executable = bool(member.mode & stat.S_IXUSR)
                content = functools.partial(archive.extractfile, member)
                yield _Entry(member.name, kind, is_executable, member.linkname, content)
        while unzipped.read(_CHUNK_BYTES):  # the checksum of it all stands behind the end that tar sees
            pass


def _zip_entries(file: IO[bytes]) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise zipfile.BadZipFile(f"{info.filename!r} is encrypted")
            mode = info.external_attr >> 16
            kind = _zip_kind(info, mode)
            target = archive.read(info).decode() if kind is _Kind.LINK and info.file_size < 4096 else ""
            content = functools.partial(archive.open, info)
            yield _Entry(info.filename, kind, bool(mode & stat.S_IXUSR), target, content)


def _zip_kind(info: zipfile.ZipInfo, mode: int) -> _Kind:
    """By the Unix mode where there is one; programs of other systems leave it empty."""
    if info.is_dir():
        return _Kind.FOLDER
    kinds = {0: _Kind.FILE, stat.S_IFREG: _Kind.FILE, stat.S_IFDIR: _Kind.FOLDER, stat.S_IFLNK: _Kind.LINK}
    return kinds.get(stat.S_IFMT(mode), _Kind.OTHER)


class _Unpacker:
    """Takes entry by entry. Until `make_links` there is no symbolic link below the target."""

    def __init__(self, archive: str, target: Path, bounds: Bounds) -> None:
        self._archive = archive
        self._target = target
        self._bounds = bounds
        self._size_bytes = 0
        self._entries = 0
        self._links: list[tuple[str, str]] = []

    def take(self, entry: _Entry) -> None:
        self._entries += 1
        if self._entries > self._bounds.entries:
            raise InstallFailed(f"{self._archive} has more than {self._bounds.entries} entries")
        place = self._place(entry.name)
        if place == str(self._target):
            if entry.kind is not _Kind.FOLDER:
                raise self._refuse(entry.name, "has no name")
            return
        try:
            self._put(entry, place)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise self._refuse(entry.name, "is both a file and a folder") from None

    def _place(self, name: str) -> str:
        """Where an entry goes. An absolute name or ``..`` is refused, ``.`` and empty parts mean nothing."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise self._refuse(name, "leads out of the archive")
        return os.path.join(self._target, *parts)

    def _put(self, entry: _Entry, place: str) -> None:
        if entry.kind is _Kind.FOLDER:
            os.makedirs(place, exist_ok=True)
            return
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if entry.kind is _Kind.FILE:
            self._write(entry, place)
        elif entry.kind is _Kind.LINK:
            self._links.append((place, entry.target))
        elif entry.kind is _Kind.HARD_LINK:
            self._link_hard(entry, place)
        else:
            raise self._refuse(entry.name, "is a device or a pipe")

    def _write(self, entry: _Entry, place: str) -> None:
        if os.path.isfile(place):
            os.unlink(place)  # of two entries with one name the later one counts
        content = entry.open()
        if content is None:
            raise self._refuse(entry.name, "has no content")
        mode = 0o755 if entry.is_executable else 0o644
        with content, open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as written:
            while chunk := content.read(_CHUNK_BYTES):
                self._size_bytes += len(chunk)
                if self._size_bytes > self._bounds.size_bytes:
                    raise InstallFailed(f"{self._archive} unpacks to more than {self._bounds.size_bytes} bytes")
                written.write(chunk)

    def _link_hard(self, entry: _Entry, place: str) -> None:
        target = self._place(entry.target)
        if not os.path.isfile(target):
            raise self._refuse(entry.name, f"is another name of {entry.target!r}, which is no file before it")
        if target == place:
            return
        if os.path.isfile(place):
            os.unlink(place)
        os.link(target, place)

    def make_links(self) -> None:
        """Make the symbolic links, and refuse those that lead out, by whatever detour."""
        for place, target in self._links:
            name = os.path.relpath(place, self._target)
            if os.path.isabs(target) or not target:
                raise self._refuse(name, f"is a link to {target!r}, which leads out of the archive")
            parent = os.path.dirname(place)
            if os.path.realpath(parent) != parent:
                raise self._refuse(name, "lies behind a link")
            if os.path.lexists(place):
                raise self._refuse(name, "is a link and something else, too")
            os.symlink(target, place)
        inside = f"{self._target}{os.sep}"
        for place, target in self._links:  # only now is it known where each leads, over the others
            if not f"{os.path.realpath(place)}{os.sep}".startswith(inside):
                name = os.path.relpath(place, self._target)
                raise self._refuse(name, f"is a link to {target!r}, which leads out of the archive")

    def _refuse(self, name: str, why: str) -> InstallFailed:
        return InstallFailed(f"{self._archive} is refused: its entry {name!r} {why}")
