# SPDX-License-Identifier: Apache-2.0
"""Packing a program into an archive that is the same, byte for byte, whenever and wherever it is packed."""

from __future__ import annotations

import fnmatch
import gzip
import os
import stat
import tarfile
from typing import IO, TYPE_CHECKING

from flamepy.core.types import FlameError, FlameErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["DEFAULT_EXCLUDES", "pack"]

DEFAULT_EXCLUDES = (
    *(".venv", "venv", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", "*.egg-info"),
    *(".git", ".tox", "node_modules", "*.pyc", "*.pyo", ".DS_Store"),
)
"""What no program needs. Shell patterns, held against the path below the folder and against the name."""


def pack(path: Path, file: IO[bytes], excludes: Iterable[str] = ()) -> None:
    """Write a .tar.gz of a folder's contents, or of one file as ``bin/NAME``.

    excludes: patterns in addition to the default ones; ``dist`` at the top is left out, too. Of owners, times and
    modes only whether a file can be run is kept. Raises FlameError INVALID_ARGUMENT for a link that leads out of
    the folder, or for what is no file; and OSError.
    """
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w:", format=tarfile.PAX_FORMAT) as archive,
    ):
        entries = [("bin", None), (f"bin/{path.name}", path)] if path.is_file() else _entries(path, excludes)
        for name, source in entries:
            _add(archive, name, source)


def _entries(folder: Path, excludes: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    """Name in the archive and where it is; None for a folder. In an order that hangs on nothing but the names."""
    patterns = [*DEFAULT_EXCLUDES, *excludes]
    for parent, folders, files in os.walk(folder):
        inside = os.path.relpath(parent, folder)
        prefix = "" if inside == "." else f"{inside}/"

        def is_wanted(name: str, prefix: str = prefix) -> bool:
            path = f"{prefix}{name}"
            return path != "dist" and not any(
                fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in (path, name)
            )

        here = sorted(filter(is_wanted, [*folders, *files]))
        folders[:] = sorted(name for name in folders if name in here)
        for name in here:
            path = folder / f"{prefix}{name}"
            is_folder = path.is_dir() and not path.is_symlink()
            yield f"{prefix}{name}", None if is_folder else path
            if path.is_symlink():
                _check_link(path, folder)


def _check_link(path: Path, folder: Path) -> None:
    target = os.readlink(path)
    if os.path.isabs(target) or not path.resolve().is_relative_to(folder.resolve()):
        raise _refuse(f"{path} is a link to {target}, out of the folder; exclude it, or put the file in its place")


def _add(archive: tarfile.TarFile, name: str, source: Path | None) -> None:
    member = tarfile.TarInfo(name)
    if source is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    elif source.is_symlink():
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, os.readlink(source)
        archive.addfile(member)
    elif source.is_file():
        with source.open("rb") as content:
            status = os.fstat(content.fileno())
            member.size = status.st_size
            member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            archive.addfile(member, content)
    else:
        raise _refuse(f"{source} is neither a file nor a folder nor a link; exclude it")


def _refuse(text: str) -> FlameError:
    return FlameError(FlameErrorCode.INVALID_ARGUMENT, text)
