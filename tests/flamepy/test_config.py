from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flamepy import FlameContext, FlameContextRunner, FlameError, FlameErrorCode, FlamePackage
from flamepy.core.types import FlameClientCache, FlameClientTls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WRITTEN = """
current-context: here
contexts:
- name: elsewhere
  cluster:
    endpoint: "local:///elsewhere"
- name: here
  cluster:
    endpoint: "local:///here"
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Path]:
    """Writes the user's configuration file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FLAME_ENDPOINT", raising=False)

    def write(text: str | bytes) -> Path:
        path = tmp_path / ".flame" / "flame.yaml"
        path.parent.mkdir()
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_nothing_configured_is_no_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FLAME_ENDPOINT", raising=False)
    assert FlameContext().endpoint is None


def test_the_current_context_names_the_endpoint(configured: Callable[[str], Path]) -> None:
    configured(WRITTEN)
    assert FlameContext().endpoint == "local:///here"


def test_the_environment_goes_before_the_file(
    configured: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(WRITTEN)
    monkeypatch.setenv("FLAME_ENDPOINT", "local:///there")
    assert FlameContext().endpoint == "local:///there"


def test_an_empty_variable_is_none(configured: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    configured(WRITTEN)
    monkeypatch.setenv("FLAME_ENDPOINT", "")
    assert FlameContext().endpoint == "local:///here"


def test_a_context_without_a_cluster_names_no_endpoint(configured: Callable[[str], Path]) -> None:
    configured("{current-context: here, contexts: [{name: here}]}")
    assert FlameContext().endpoint is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no 'current-context'"),
        ("contexts: []", "no 'current-context'"),
        ("- a\n- b", "not a mapping"),
        ("current-context: [", "expected the node content"),
        ("current-context: nowhere", "current-context 'nowhere' is none of the contexts []"),
        (WRITTEN.replace("current-context: here", "current-context: hear"), "'hear' is none of the contexts"),
        (b"\xff\xfe\x00", "utf-8"),
        ("{current-context: here, contexts: 5}", "contexts is no list"),
        ("{current-context: here, contexts: [{name: here, cluster: x}]}", "cluster is no mapping"),
        ("{current-context: here, contexts: [{name: here, cluster: {endpoint: 5}}]}", "endpoint is no text"),
    ],
)
def test_a_wrong_file_is_refused_with_its_path_and_the_problem(
    configured: Callable[[str | bytes], Path], text: str | bytes, problem: str
) -> None:
    path = configured(text)
    with pytest.raises(FlameError) as refusal:
        FlameContext()
    assert refusal.value.code is FlameErrorCode.INVALID_CONFIG
    assert refusal.value.message.startswith(f"{path}: ")
    assert problem in refusal.value.message


def test_a_file_that_cannot_be_read_is_refused_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".flame" / "flame.yaml"
    path.mkdir(parents=True)
    with pytest.raises(FlameError, match="directory") as refusal:
        FlameContext()
    assert refusal.value.code is FlameErrorCode.INVALID_CONFIG
    assert str(path) in refusal.value.message


# -- what else the file says

EVERYTHING = """
current-context: here
contexts:
- name: here
  cluster:
    endpoint: "https://there:8080"
    tls: {ca_file: /ca.crt}
  cache:
    endpoint: "grpcs://there:9090"
    tls: {ca_file: /cache-ca.crt}
    storage: /shared
  package:
    storage: "file:///packages"
    excludes: ["*.log", ".venv"]
  runner:
    template: mine
"""
DEFAULT_EXCLUDES = [".venv", "__pycache__", ".gitignore", "*.pyc"]


@pytest.fixture
def bare(configured: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """As configured, with no variable set."""
    for name in ("FLAME_CACHE_ENDPOINT", "FLAME_CACHE_STORAGE", "FLAME_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    return configured


def test_all_of_a_context_is_read(bare: Callable[[str], Path]) -> None:
    bare(EVERYTHING)
    context = FlameContext()
    assert context.endpoint == "https://there:8080"
    assert context.tls == FlameClientTls("/ca.crt")
    assert context.cache == FlameClientCache("grpcs://there:9090", FlameClientTls("/cache-ca.crt"), "/shared")
    assert (context.cache_endpoint, context.cache_tls) == ("grpcs://there:9090", FlameClientTls("/cache-ca.crt"))
    assert context.package == FlamePackage("file:///packages", [*DEFAULT_EXCLUDES, "*.log"])
    assert context.runner == FlameContextRunner("mine")


def test_without_a_file_there_are_defaults_and_no_endpoints(bare: Callable[[str], Path]) -> None:
    context = FlameContext()
    assert (context.endpoint, context.tls, context.package) == (None, None, None)
    assert context.cache == FlameClientCache()
    assert (context.cache_endpoint, context.cache_tls) == (None, None)
    assert context.runner == FlameContextRunner("flmrun")
    assert context.package_excludes == DEFAULT_EXCLUDES


def test_variables_go_before_the_file_for_objects_too(
    bare: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(EVERYTHING)
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", "local:///objects")
    monkeypatch.setenv("FLAME_CACHE_STORAGE", "/other")
    cache = FlameContext().cache
    assert (cache.endpoint, cache.storage, cache.tls) == ("local:///objects", "/other", FlameClientTls("/cache-ca.crt"))


def test_the_ca_file_of_the_environment_only_fills_in(
    bare: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CA_FILE", "/environment.crt")
    assert FlameContext().tls == FlameContext().cache_tls == FlameClientTls("/environment.crt")
    bare(EVERYTHING.replace("ca_file: /ca.crt", ""))
    context = FlameContext()
    assert context.tls == FlameClientTls("/environment.crt")
    assert context.cache_tls == FlameClientTls("/cache-ca.crt")


def test_tls_without_a_ca_file_takes_the_system_s(bare: Callable[[str], Path]) -> None:
    bare(EVERYTHING.replace("{ca_file: /ca.crt}", "{}"))
    assert FlameContext().tls == FlameClientTls(None)


def test_excludes_count_without_a_package_storage(bare: Callable[[str], Path]) -> None:
    bare(EVERYTHING.replace('storage: "file:///packages"', ""))
    context = FlameContext()
    assert context.package is None
    assert context.package_excludes == [*DEFAULT_EXCLUDES, "*.log"]


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ("cache: 5", "cache is no mapping: 5"),
        ("cache: {endpoint: 5}", "cache.endpoint is no text: 5"),
        ("cache: {tls: x}", "cache.tls is no mapping: 'x'"),
        ("cluster: {tls: {ca_file: [a]}}", "cluster.tls.ca_file is no text: ['a']"),
        ("package: {excludes: x}", "package.excludes is no list: 'x'"),
        ("package: {excludes: [5]}", "package.excludes has something that is no text: 5"),
        ("runner: [x]", "runner is no mapping: ['x']"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(bare: Callable[[str], Path], context: str, problem: str) -> None:
    path = bare(f"{{current-context: x, contexts: [{{name: x, {context}}}]}}")
    with pytest.raises(FlameError) as refusal:
        FlameContext()
    assert refusal.value.code is FlameErrorCode.INVALID_CONFIG
    assert refusal.value.message == f"{path}: {problem}"
