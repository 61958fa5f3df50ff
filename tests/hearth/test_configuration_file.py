"""The configuration comes from a file or a folder, and what is wrong with it is told with the place."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from hearth.configuration_file import read_configuration

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_toml_unless_its_name_says_json_or_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[x]\ny = [1, 2.5, 'é']\nat = 2026-01-02T03:04:05Z\n")
    (tmp_path / "a.json").write_text('{"x": {"y": null}}')
    assert read_configuration(tmp_path / "a.toml") == {"x": {"y": [1, 2.5, "é"], "at": "2026-01-02T03:04:05Z"}}
    assert read_configuration(tmp_path / "a.json") == {"x": {"y": None}}
    for name in ("a.yaml", "a.yml"):
        (tmp_path / name).write_text("x:\n  y: [1, 2.5, 'é']\n  at: 2026-01-02\n  1: one\n")
        assert read_configuration(tmp_path / name) == {"x": {"y": [1, 2.5, "é"], "at": "2026-01-02", "1": "one"}}
    (tmp_path / "empty.yaml").touch()
    assert read_configuration(tmp_path / "empty.yaml") == {}


def test_a_folder_is_all_its_toml_together(tmp_path: Path) -> None:
    assert read_configuration(tmp_path) == {}
    (tmp_path / "1.toml").write_text("[x]\na = 1\n")
    (tmp_path / "2.toml").write_text("[y]\nb = 2\n")
    (tmp_path / "note.txt").write_text("not read")
    assert read_configuration(tmp_path) == {"x": {"a": 1}, "y": {"b": 2}}
    (tmp_path / "3.toml").write_text("[x]\nc = 3\n")
    with pytest.raises(OSError, match=r"3\.toml: 'x' is in another file of the folder too"):
        read_configuration(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("a.toml", b"[x\n", r"a\.toml: .*line 1"),
        ("a.toml", b"\xff = 1", r"a\.toml: "),
        ("a.json", b"{", r"a\.json: "),
        ("a.json", b"[]", r"a\.json: not an object, but list"),
        ("a.yaml", b"a: [1", r"a\.yaml: .*\n.*line 1"),
        ("a.yaml", b"- 1", r"a\.yaml: not an object, but list"),
        ("a.yaml", b"a: &x [*x]", r"a\.yaml: "),
        ("a.yaml", b"a: 2026-99-99", r"a\.yaml: "),
        ("a.yaml", b"a: !!python/object:os.system 1", r"a\.yaml: "),
        ("a.json", b'{"a":' + b"[" * 100_000, r"a\.json: "),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, name: str, text: bytes, wrong: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(OSError, match=wrong) as refused:
        read_configuration(tmp_path / name)
    assert refused.value.errno == errno.EINVAL


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_configuration(tmp_path / "ghost.toml")
