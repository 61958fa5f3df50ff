# SPDX-License-Identifier: Apache-2.0
"""The environment, command line and working folder of an executor's process. Pure."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from flamepy.core.python_path import with_absolute_python_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flamepy.core.types import ApplicationAttributes
    from hearth.installers.installation import Installation

__all__ = ["command_line", "expand", "process_environment"]

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
    installed brings one of its own.
    """
    environment = with_absolute_python_path(inherited)
    environment.update({name: expand(value, inherited) for name, value in (attributes.environments or {}).items()})
    own = os.path.dirname(sys.executable)
    path = environment.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != own:
        environment["PATH"] = f"{own}{os.pathsep}{path}"
    if installation is not None:
        installation.apply(environment)
    for name in ("TMPDIR", "TEMP", "TMP"):
        environment[name] = str(temporary)
    environment.update(FLUX_URI=uri, FLAME_ENDPOINT=uri, FLAME_INSTANCE_ENDPOINT=uri, FLAME_EXECUTOR_ID=executor_id)
    return environment


def command_line(attributes: ApplicationAttributes, environment: Mapping[str, str]) -> list[str]:
    """Command and arguments, expanded. Empty when the application has no command."""
    if not attributes.command:
        return []
    return [expand(text, environment) for text in (attributes.command, *(attributes.arguments or ()))]
