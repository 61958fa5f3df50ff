# SPDX-License-Identifier: Apache-2.0
"""The configuration as files: TOML as flux-core has it, one file or a folder, or one file of JSON or YAML."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["read_configuration"]


def read_configuration(path: Path) -> dict[str, Any]:
    """What the file says, or all files ``*.toml`` of a folder together.

    Raises OSError: EINVAL with what is wrong and where, or whatever reading the file raises.
    """
    if not path.is_dir():
        return _read(path)
    whole: dict[str, Any] = {}
    for part in sorted(path.glob("*.toml")):
        tables = _read(part)
        if twice := sorted(whole.keys() & tables.keys()):
            raise OSError(errno.EINVAL, f"{part}: {twice[0]!r} is in another file of the folder too")
        whole |= tables
    return whole


def _yaml(data: bytes) -> Any:
    import yaml  # 13 ms that only those with such a file pay

    try:
        tables = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return {} if tables is None else tables  # an empty file


_DECODE: dict[str, Callable[[bytes], Any]] = {
    ".json": msgspec.json.decode,
    ".yaml": _yaml,
    ".yml": _yaml,
}
"""By the end of the file's name; any other is TOML."""


def _read(path: Path) -> dict[str, Any]:
    """One file. Times become text, since JSON has none."""
    decode = _DECODE.get(path.suffix, msgspec.toml.decode)
    try:
        tables = msgspec.to_builtins(decode(path.read_bytes()), str_keys=True)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise OSError(errno.EINVAL, f"{path}: {error}") from None
    if not isinstance(tables, dict):
        raise OSError(errno.EINVAL, f"{path}: not an object, but {type(tables).__name__}")
    return tables
