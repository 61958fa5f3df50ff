# SPDX-License-Identifier: Apache-2.0
"""The environment, command line and working folder of an executor's process. Pure."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from flamepy.core.python_path import with_absolute_python_path
from flamepy.core.types import Shim

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flamepy.core.types import ApplicationAttributes
    from hearth.installers.installation import Installation

__all__ = ["command_line", "expand", "process_environment"]

_OUR_ADDRESS = ("FLUX_URI", "FLAME_ENDPOINT", "FLAME_CACHE_ENDPOINT", "FLAME_INSTANCE_ENDPOINT")
_WASM_HOST = os.path.join(os.path.dirname(os.path.dirname(__file__)), "wasm", "__main__.py")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$NAME`` and ``${NAME}``; unknown names stay as written."""
    return _VARIABLE.sub(lambda match: environment.get(match[1] or match[2], match[0]), text)


def process_environment(
    inherited: Mapping[str, str],
    attributes: ApplicationAttributes,
    *,
    executor_id: str,
    uri: str,
    temporary: Path,
    installation: Installation | None = None,
) -> dict[str, str]:
    """What the process finds: the daemon's own environment, the application's, and where the instance is.

    The daemon's interpreter comes first on PATH, so that ``python3`` has this very flamepy, unless what is
    installed brings one of its own. Unless somebody has said otherwise, what Python programs print is not held back in
    a buffer, which would be lost when they are killed.
    """
    environment = with_absolute_python_path(inherited)
    environment.update({name: expand(value, inherited) for name, value in (attributes.environments or {}).items()})
    environment.setdefault("PYTHONUNBUFFERED", "1")
    log_level = environment.setdefault("RUST_LOG", "info")
    environment.setdefault("FLAME_LOG", log_level)
    own = os.path.dirname(sys.executable)
    path = environment.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != own:
        environment["PATH"] = f"{own}{os.pathsep}{path}"
    if installation is not None:
        installation.apply(environment)
    for name in ("TMPDIR", "TEMP", "TMP"):
        environment[name] = str(temporary)
    environment.update(dict.fromkeys(_OUR_ADDRESS, uri), FLAME_EXECUTOR_ID=executor_id)
    return environment


def command_line(attributes: ApplicationAttributes, environment: Mapping[str, str]) -> list[str]:
    """Command and arguments, expanded; for a component what runs it before them. Empty when there is no command."""
    if not attributes.command:
        return []
    host = [sys.executable, _WASM_HOST] if attributes.shim is Shim.WASM else []
    return host + [expand(text, environment) for text in (attributes.command, *(attributes.arguments or ()))]
