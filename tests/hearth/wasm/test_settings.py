# SPDX-License-Identifier: Apache-2.0
"""What the environment of an executor says about its component."""

from __future__ import annotations

import pytest

from hearth.wasm.settings import Folder, Settings


def test_nothing_is_granted_and_everything_limited_by_default() -> None:
    assert Settings.of({"PATH": "/bin", "HEARTH_WASM_TIMEOUT": ""}) == Settings(60.0, 1 << 30, (), ())


@pytest.mark.parametrize(
    ("text", "size"), [("65536", 65536), ("64K", 65536), ("32M", 32 << 20), ("2G", 2 << 30), ("16 MiB", 16 << 20)]
)
def test_memory_is_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert Settings.of({"HEARTH_WASM_MEMORY": text}).memory == size


def test_folders_are_read_only_unless_they_say_otherwise() -> None:
    settings = Settings.of({"HEARTH_WASM_DIRS": "/data::/in, /tmp/out::/out::rw,/same"})
    assert settings.folders == (
        Folder("/data", "/in", False),
        Folder("/tmp/out", "/out", True),
        Folder("/same", "/same", False),
    )


def test_variables_are_those_named_if_they_are_set() -> None:
    environment = {"HEARTH_WASM_ENV": "MODEL,ABSENT", "MODEL": "small", "SECRET": "x"}
    assert Settings.of(environment).variables == (("MODEL", "small"),)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HEARTH_WASM_TIMEOUT", "0"),
        ("HEARTH_WASM_TIMEOUT", "soon"),
        ("HEARTH_WASM_TIMEOUT", "inf"),
        ("HEARTH_WASM_TIMEOUT", "nan"),
        ("HEARTH_WASM_MEMORY", "0"),
        ("HEARTH_WASM_MEMORY", "5G"),
        ("HEARTH_WASM_MEMORY", "much"),
        ("HEARTH_WASM_DIRS", "relative::/in"),
        ("HEARTH_WASM_DIRS", "/data::"),
        ("HEARTH_WASM_DIRS", "/data::/in::ro"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_name_of_the_setting(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.of({name: text})
