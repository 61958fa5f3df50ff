# SPDX-License-Identifier: Apache-2.0
"""Where the instance is: environment, then ~/.flame/flame.yaml, then nothing (an embedded instance)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flamepy.core.types import DEFAULT_FLAME_CONF, FlameError, FlameErrorCode, FlamePackage

__all__ = ["FlameClientTls", "FlameContext"]


@dataclass
class FlameClientTls:
    """TLS for a connection; ca_file None means the system's own certificates."""

    ca_file: str | None = None


@dataclass
class FlameContext:
    """The configuration in force. endpoint is None when nothing names one, package when the file names no storage.

    package_excludes: the default patterns and those of the file. Read anew for each object. Raises FlameError
    INVALID_CONFIG if the file is there and wrong.
    """

    endpoint: str | None = field(init=False, default=None)
    package: FlamePackage | None = field(init=False, default=None)
    package_excludes: list[str] = field(init=False)
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = Path.home() / ".flame" / DEFAULT_FLAME_CONF
        context = _current_context(self.path)
        cluster = context.get("cluster") or {}
        if not isinstance(cluster, dict):
            raise _invalid(self.path, f"cluster is no mapping: {cluster!r}")
        endpoint = cluster.get("endpoint")
        if endpoint is not None and not isinstance(endpoint, str):
            raise _invalid(self.path, f"cluster.endpoint is no text: {endpoint!r}")
        self.endpoint = os.environ.get("FLAME_ENDPOINT") or endpoint
        self._read_package(context.get("package") or {})

    def _read_package(self, package: object) -> None:
        if not isinstance(package, dict):
            raise _invalid(self.path, f"package is no mapping: {package!r}")
        storage, excludes = package.get("storage"), package.get("excludes") or []
        if storage is not None and not isinstance(storage, str):
            raise _invalid(self.path, f"package.storage is no text: {storage!r}")
        if not isinstance(excludes, list) or not all(isinstance(pattern, str) for pattern in excludes):
            raise _invalid(self.path, f"package.excludes is no list of texts: {excludes!r}")
        self.package_excludes = list(dict.fromkeys([*FlamePackage("").excludes, *excludes]))
        self.package = FlamePackage(storage, self.package_excludes) if storage else None


def _current_context(path: Path) -> dict[str, Any]:
    """The context that the file names as current; empty without a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(path, str(error)) from None
    import yaml  # 13 ms that only those with a file pay

    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _invalid(path, str(error)) from None
    if not isinstance(document, dict):
        raise _invalid(path, "not a mapping")
    name = document.get("current-context")
    if not name:
        raise _invalid(path, "no 'current-context'")
    contexts = document.get("contexts") or []
    if not isinstance(contexts, list):
        raise _invalid(path, f"contexts is no list: {contexts!r}")
    for context in contexts:
        if isinstance(context, dict) and context.get("name") == name:
            return context
    names = [context.get("name") for context in contexts if isinstance(context, dict)]
    raise _invalid(path, f"current-context {name!r} is none of the contexts {names}")


def _invalid(path: Path, problem: str) -> FlameError:
    return FlameError(FlameErrorCode.INVALID_CONFIG, f"{path}: {problem}")
