# SPDX-License-Identifier: Apache-2.0
"""Where the instance is: environment, then ~/.flame/flame.yaml, then nothing (an embedded instance)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flamepy.core.types import (
    DEFAULT_FLAME_CONF,
    FlameClientCache,
    FlameClientTls,
    FlameClusterConfig,
    FlameContextRunner,
    FlameError,
    FlameErrorCode,
    FlamePackage,
)

__all__ = ["FlameClientTls", "FlameContext"]

_DEFAULT_TEMPLATE = "flmrun"


class FlameContext:
    """The configuration in force: FLAME_ENDPOINT, FLAME_CACHE_ENDPOINT and FLAME_CACHE_STORAGE, then the file.

    FLAME_CA_FILE only fills in for CA files that the file does not name. Read anew for each object.
    Attributes: path (of the file), package_excludes (the default patterns and those of the file). Raises
    FlameError INVALID_CONFIG if the file is there and wrong.
    """

    def __init__(self) -> None:
        self.path = Path.home() / ".flame" / DEFAULT_FLAME_CONF
        context = _Section(self.path, "", _current_context(self.path))
        cluster = context.section("cluster")
        self._cluster = FlameClusterConfig(
            os.environ.get("FLAME_ENDPOINT") or cluster.text("endpoint") or "", _tls_of(cluster)
        )
        cache = context.section("cache")
        self._cache = FlameClientCache(
            os.environ.get("FLAME_CACHE_ENDPOINT") or cache.text("endpoint"),
            _tls_of(cache),
            os.environ.get("FLAME_CACHE_STORAGE") or cache.text("storage"),
        )
        package = context.section("package")
        storage = package.text("storage")
        excludes = [*FlamePackage("").excludes, *package.texts("excludes")]
        self.package_excludes = list(dict.fromkeys(excludes))
        self._package = FlamePackage(storage, self.package_excludes) if storage else None
        self._runner = FlameContextRunner(context.section("runner").text("template") or _DEFAULT_TEMPLATE)

    @property
    def endpoint(self) -> str | None:
        """The address of the instance; None when nothing names one."""
        return self._cluster.endpoint or None

    @property
    def tls(self) -> FlameClientTls | None:
        """TLS for the instance."""
        return self._cluster.tls

    @property
    def cache(self) -> FlameClientCache:
        """Where objects are kept."""
        return self._cache

    @property
    def cache_endpoint(self) -> str | None:
        """The address of where objects are kept; None for the instance itself."""
        return self._cache.endpoint

    @property
    def cache_tls(self) -> FlameClientTls | None:
        """TLS for where objects are kept."""
        return self._cache.tls

    @property
    def package(self) -> FlamePackage | None:
        """Where packages are kept; None when the file names no storage for them."""
        return self._package

    @property
    def runner(self) -> FlameContextRunner:
        """What a Runner copies."""
        return self._runner


class _Section:
    """A mapping of the file, whose values are checked as they are read."""

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self._path = path
        self._name = name
        self._values = values

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def section(self, key: str) -> _Section:
        """The mapping below; empty if there is none."""
        return _Section(self._path, self._full(key), self._get(key, dict, "mapping") or {})

    def text(self, key: str) -> str | None:
        value = self._get(key, str, "text")
        assert value is None or isinstance(value, str)
        return value

    def texts(self, key: str) -> list[str]:
        values = self._get(key, list, "list") or []
        for value in values:
            if not isinstance(value, str):
                raise _invalid(self._path, f"{self._full(key)} has something that is no text: {value!r}")
        return list(values)

    def _get(self, key: str, kind: type, what: str) -> Any:
        value = self._values.get(key)
        if value is not None and not isinstance(value, kind):
            raise _invalid(self._path, f"{self._full(key)} is no {what}: {value!r}")
        return value

    def _full(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key


def _tls_of(section: _Section) -> FlameClientTls | None:
    ca_file = section.section("tls").text("ca_file") or os.environ.get("FLAME_CA_FILE") or None
    return FlameClientTls(ca_file) if ca_file or "tls" in section else None


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
