# SPDX-License-Identifier: Apache-2.0
"""A module path that means the same to a process that starts in another folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["with_absolute_python_path"]


def with_absolute_python_path(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy in which the entries of PYTHONPATH are absolute, relative ones being relative to this process."""
    copy = dict(environment)
    if search := copy.get("PYTHONPATH"):
        copy["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, search.split(os.pathsep)))
    return copy
