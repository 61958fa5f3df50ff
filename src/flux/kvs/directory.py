# SPDX-License-Identifier: Apache-2.0
"""Directories as mappings, and getting what may be one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_KVS_READDIR
from flux.errors import InvalidArguments
from flux.kvs.lookup import decode_value, exists, isdir, look_up, require_key
from flux.kvs.transaction import KVSTxn, join_key

if TYPE_CHECKING:
    from typing_extensions import Self

    from flux.core.future import Future
    from flux.core.handle import Flux

__all__ = ["KVSDir", "get", "get_dir", "join", "walk"]


class KVSDir(MutableMapping[str, Any]):
    """The names in a directory, and below it by dotted keys; reading asks the store, writing is staged until `commit`.

    A directory in it, gotten as an item, stages with it: the commit of one is the commit of both. A ``with`` block
    commits at its end, unless it raises. Raises ValueError without a handle, OSError: ENOENT, ENOTDIR, EINVAL for an
    empty path. Like its transaction, `kvstxn`, it belongs to one thread.
    """

    def __init__(
        self,
        flux_handle: Flux | None = None,
        path: str = ".",
        handle: None = None,
        namespace: str | None = None,
        _kvstxn: KVSTxn | None = None,
    ) -> None:
        if handle is not None:
            raise InvalidArguments("handle: there is no C object to wrap; give a flux_handle and a path")
        if flux_handle is None:
            raise ValueError("flux_handle must be a Flux object, got None")
        self.fhdl = flux_handle
        self.path = require_key(path)
        self.namespace = namespace
        self.kvstxn = KVSTxn(flux_handle, namespace=namespace) if _kvstxn is None else _kvstxn
        self._entries()

    def _entries(self) -> dict[str, dict[str, Any]]:
        return _entries(self.fhdl, self.path, self.namespace)

    def key_at(self, key: str) -> str:
        """The key as it is called from the root."""
        return join_key(self.path, require_key(key))

    def exists(self, name: str) -> bool:
        """Whether there is something of that name."""
        return exists(self.fhdl, self.key_at(name), self.namespace)

    # The mapping

    def __getitem__(self, key: str) -> Any:
        try:
            return get(self.fhdl, self.key_at(key), self.namespace, self.kvstxn)
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        """See `flux.kvs.put`; a mapping becomes a JSON value, `mkdir` makes a directory of it."""
        self.kvstxn.put(self.key_at(key), value)

    def __delitem__(self, key: str) -> None:
        """A missing key is fine, as it may be staged."""
        self.kvstxn.unlink(self.key_at(key))

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.exists(key)

    def __repr__(self) -> str:
        return f"KVSDir({self.path!r})"

    # Writing

    def commit(self, flags: int = 0) -> int:
        """See `flux.kvs.commit`."""
        return self.kvstxn.commit(flags)

    def commit_async(self, flags: int = 0) -> Future:
        """See `flux.kvs.commit_async`."""
        return self.kvstxn.commit_async(flags)

    def fill(self, contents: Mapping[str, Any]) -> None:
        """Put every item, and commit. Raises ValueError for None."""
        if contents is None:
            raise ValueError("contents must be a mapping, got None")
        self.update(contents)
        self.commit()

    def mkdir(self, key: str, contents: Mapping[str, Any] | None = None) -> KVSDir:
        """Make a directory, in place of whatever is there, put contents in it, and commit. Returns it."""
        self.kvstxn.mkdir(self.key_at(key))
        for name, value in (contents or {}).items():
            self[join_key(key, require_key(name))] = value
        self.commit()
        return KVSDir(self.fhdl, self.key_at(key), namespace=self.namespace, _kvstxn=self.kvstxn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.kvstxn.__exit__(kind, *error)

    # Listing

    def list_all(self, topdown: bool = False) -> tuple[list[str], list[str]]:
        """The names of what is no directory, and those of directories; a link is what it leads to.

        topdown has no effect, here as upstream.
        """
        files, directories, linked = _list(self.fhdl, self.path, self.namespace)
        return files, directories + linked

    def files(self) -> Iterator[str]:
        """The names of what is no directory."""
        return iter(self.list_all()[0])

    def directories(self) -> Iterator[str]:
        """The names of directories."""
        return iter(self.list_all()[1])


def _entries(flux_handle: Flux, path: str, namespace: str | None) -> dict[str, dict[str, Any]]:
    """The tree objects in a directory."""
    entries: dict[str, dict[str, Any]] = look_up(flux_handle, path, namespace, FLUX_KVS_READDIR)["data"]
    return entries


def _list(flux_handle: Flux, path: str, namespace: str | None) -> tuple[list[str], list[str], list[str]]:
    """What is in a directory: values, directories, links to directories; a link to anything else is as a value."""
    values: list[str] = []
    directories: list[str] = []
    linked: list[str] = []
    for name, entry in _entries(flux_handle, path, namespace).items():
        if entry["type"] in ("dir", "dirref"):
            directories.append(name)
        elif entry["type"] == "symlink" and isdir(flux_handle, join_key(path, name), namespace):
            linked.append(name)
        else:
            values.append(name)
    return values, directories, linked


def get(flux_handle: Flux, key: str, namespace: str | None = None, _kvstxn: KVSTxn | None = None) -> Any:
    """The value of a key, see `flux.kvs.lookup.decode_value`; of a directory a `KVSDir`, which stages in _kvstxn.

    Raises OSError: ENOENT, EINVAL for an empty key, ENOTSUP for a namespace that does not exist.
    """
    try:
        return decode_value(look_up(flux_handle, key, namespace))
    except IsADirectoryError:
        return get_dir(flux_handle, key, namespace, _kvstxn)


def get_dir(flux_handle: Flux, key: str = ".", namespace: str | None = None, _kvstxn: KVSTxn | None = None) -> KVSDir:
    """The directory of a key, which stages in _kvstxn or a transaction of its own. Raises as `KVSDir` does."""
    return KVSDir(flux_handle, key, namespace=namespace, _kvstxn=_kvstxn)


def join(*args: str) -> str:
    """One key of several parts, of which empty ones are left out; for paths and names from `walk`."""
    return ".".join(part for part in args if part)


def walk(
    directory: str | KVSDir, topdown: bool = False, flux_handle: Flux | None = None, namespace: str | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Path, directories and files of a directory and of each below it, as `os.walk`; paths are relative to it.

    directory: a key needs the handle, else ValueError. Links to directories are listed, not followed.
    """
    if not isinstance(directory, KVSDir):
        if flux_handle is None:
            raise ValueError("flux_handle must be given when the directory is a key")
        directory = KVSDir(flux_handle, directory, namespace=namespace)
    return _walk(directory, topdown)


def _walk(top: KVSDir, topdown: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """No recursion: keys may have more parts than Python has frames."""
    if topdown:
        yield from _parents_first(top, last_first=False)
    else:
        yield from reversed(list(_parents_first(top, last_first=True)))


def _parents_first(top: KVSDir, *, last_first: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """last_first: of the directories in one, that they may be in order when all is turned round."""
    open_paths = [""]
    while open_paths:
        path = open_paths.pop()
        files, directories, linked = _list(top.fhdl, top.key_at(path) if path else top.path, top.namespace)
        listed = directories + linked
        yield path, listed, files
        below = [join_key(path or ".", name) for name in listed if name in directories]
        open_paths += below if last_first else reversed(below)
