# SPDX-License-Identifier: Apache-2.0
"""docs/wasm.md names what there is."""

from __future__ import annotations

import re

from hearth.providers import shims
from hearth.wasm import settings
from tests.conftest import SOURCE

GUIDE = (SOURCE.parent / "docs" / "wasm.md").read_text(encoding="utf-8")


def test_every_setting_is_documented_and_no_other() -> None:
    names = {settings.TIMEOUT, settings.MEMORY, settings.FOLDERS, settings.VARIABLES, shims.SHIMS}
    assert set(re.findall(r"HEARTH_\w+", GUIDE)) == names


def test_the_example_of_folders_means_what_it_says() -> None:
    (example,) = re.findall(r"`(/data::[^`]*)`", GUIDE)
    granted = settings.Settings.of({settings.FOLDERS: example}).folders
    assert granted == (("/data", "/in", False), ("/results", "/out", True))


def test_every_field_that_a_component_may_ask_for_is_documented() -> None:
    from flamepy.core.service import ApplicationContext, SessionContext
    from hearth.wasm.interface import context_of

    told = GUIDE.split("The records may have these fields")[1].split("**Python**")[0]
    assert set(re.findall(r"`([\w-]+)`", told)) - {"default"} == set(
        context_of(SessionContext(None, "s", ApplicationContext("a")))
    )
