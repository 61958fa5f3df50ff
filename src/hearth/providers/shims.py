# SPDX-License-Identifier: Apache-2.0
"""Which kinds of applications the executors of this machine run."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from flamepy.core.types import Shim
from hearth.wasm.requirement import missing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["shims_here"]

SHIMS = "HEARTH_SHIMS"
"""The environment variable that says which kinds, "host,wasm" or one of them; by default all that can run."""


def shims_here(environment: Mapping[str, str]) -> frozenset[Shim]:
    """HOST always can; WASM where wasmtime is installed, which is looked for, but not imported.

    Raises OSError EINVAL if HEARTH_SHIMS names something else, or WASM where it cannot run.
    """
    problem = missing()
    able = frozenset({Shim.HOST}) if problem else frozenset(Shim)
    text = environment.get(SHIMS)
    if not text:
        return able
    wanted = {name.strip().upper() for name in text.split(",")}
    if not wanted <= set(Shim.__members__):
        raise OSError(errno.EINVAL, f"{SHIMS} is {text!r}, want host, wasm, or both with a comma between them")
    asked = frozenset(Shim[name] for name in wanted)
    if not asked <= able:
        raise OSError(errno.EINVAL, f"{SHIMS} asks for wasm, but {problem}")
    return asked
