# SPDX-License-Identifier: Apache-2.0
"""The user's cache of installed applications, shared by all of the user's instances, whatever they are doing.

A key names the content, so what is there is right for ever. It appears whole or not at all: it is made in
`partial`, under the key's lock, and renamed into `entries`. The locks are flocks, which end with their
process; so whatever lies in `partial` without a lock was left by one that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hearth.installers.installation import Installation
from hearth.installers.source import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["InstallCache", "default_cache_folder"]

_KEEP_ENTRIES = 32
_KEEP_S = 30 * 86400.0
_INSTALLATION = "installation.json"


def default_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/hearth``, or ``~/.cache/hearth``; not absolute for a user without a home."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    return Path(configured if os.path.isabs(configured) else os.path.expanduser("~/.cache")) / "hearth"


class InstallCache:
    """One folder of it. Any number of processes may use the same one; the folder is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self.logs = folder / "logs"
        self._entries = folder / "entries"
        self._partial = folder / "partial"
        self._locks = folder / "locks"
        self._urls = folder / "urls"

    def make_folders(self) -> None:
        """Raises OSError if they cannot be made."""
        if not self.folder.is_absolute():
            raise OSError(errno.ENOENT, "there is no home folder for the cache of installations; set XDG_CACHE_HOME")
        for folder in (self.folder, self.scratch, self.logs, self._entries, self._partial, self._locks, self._urls):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # -- entries

    def read(self, key: str) -> Installation | None:
        """What is installed under the key, with absolute folders; None if nothing is."""
        entry = self._entries / key
        try:
            relative = msgspec.json.decode((entry / _INSTALLATION).read_bytes(), type=Installation)
            os.utime(entry)  # it was used just now
        except FileNotFoundError:
            return None
        return relative.below(str(entry))

    def get_or_build(self, key: str, build: Callable[[Path], Installation]) -> Installation:
        """What is installed under the key; if nothing is, build it, whatever others do at the same time.

        build is given an empty folder and returns what it put there, relative to it. When it raises, nothing
        is kept. Waits while another process builds the same.
        """
        if (installation := self.read(key)) is not None:
            return installation
        with self._locked(key):
            if (installation := self.read(key)) is not None:
                return installation
            # A name of its own: what a killed process had started may still be writing into that one's folder.
            partial = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._partial))
            try:
                built = build(partial)
                (partial / _INSTALLATION).write_bytes(msgspec.json.encode(built))
                partial.rename(self._entries / key)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return built.below(str(self._entries / key))

    # -- locks

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        descriptor = self._open_lock(key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, key: str) -> int:
        return os.open(self._locks / key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def hold(self, key: str) -> int | None:
        """Keep an entry from being swept away until the descriptor is closed; None if it is gone, or busy."""
        descriptor = self._open_lock(key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if self.read(key) is not None:
                return descriptor
        except BlockingIOError:
            pass
        os.close(descriptor)
        return None

    # -- what is no longer needed

    def sweep(self) -> None:
        """Remove what killed processes left half done, and what has not been used for long.

        That is all but the 32 entries used last, and those not used for thirty days. What somebody holds stays.
        """
        for name in os.listdir(self._partial):
            self._remove_unless_locked(name.partition(".")[0], self._partial / name)
        oldest = time.time() - _KEEP_S
        for at, (last_used, name) in enumerate(sorted(self._last_uses(), reverse=True)):
            if at >= _KEEP_ENTRIES or last_used < oldest:
                self._remove_unless_locked(name, self._entries / name)

    def _last_uses(self) -> Iterator[tuple[float, str]]:
        for name in os.listdir(self._entries):
            with contextlib.suppress(FileNotFoundError):  # somebody else sweeps, too
                yield (self._entries / name).stat().st_mtime, name

    def _remove_unless_locked(self, key: str, folder: Path) -> None:
        descriptor = self._open_lock(key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # First out of sight, so that nobody finds half of it.
            gone = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._partial)) / "gone"
            folder.rename(gone)
            shutil.rmtree(gone.parent, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            os.close(descriptor)

    # -- urls

    def remembered(self, url: str) -> Remembered | None:
        """What was remembered of a url; whether its content is still here is another matter."""
        try:
            return msgspec.json.decode(self._url_path(url).read_bytes(), type=Remembered)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def remember(self, url: str, remembered: Remembered) -> None:
        """Keep what a server said of a url."""
        path = self._url_path(url)
        written = path.with_name(f"{path.name}.{os.getpid()}")
        written.write_bytes(msgspec.json.encode(remembered))
        written.rename(path)

    def _url_path(self, url: str) -> Path:
        return self._urls / hashlib.sha256(url.encode()).hexdigest()
