from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flamepy import FlameContext, FlameError, FlameErrorCode

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


def test_the_file_names_where_packages_are_kept_and_what_is_left_out(configured: Callable[[str], Path]) -> None:
    configured(
        "current-context: a\ncontexts:\n- name: a\n  package:\n"
        "    storage: file:///packages\n    excludes: ['*.log', '.venv']\n"
    )
    context = FlameContext()
    assert context.package is not None
    assert context.package.storage == "file:///packages"
    assert context.package.excludes == [".venv", "__pycache__", ".gitignore", "*.pyc", "*.log"]


def test_excludes_count_without_a_storage_too(configured: Callable[[str], Path]) -> None:
    configured("current-context: a\ncontexts:\n- name: a\n  package:\n    excludes: ['*.log']\n")
    context = FlameContext()
    assert context.package is None
    assert context.package_excludes[-1] == "*.log"


@pytest.mark.parametrize("package", ["[7]", "{storage: 7}", "{excludes: x}", "{excludes: [7]}"])
def test_a_wrong_package_section_is_refused(configured: Callable[[str], Path], package: str) -> None:
    configured(f"current-context: a\ncontexts:\n- name: a\n  package: {package}\n")
    with pytest.raises(FlameError, match="package") as refused:
        FlameContext()
    assert refused.value.code is FlameErrorCode.INVALID_CONFIG
