# SPDX-License-Identifier: Apache-2.0
"""Where an instance lives when nobody says where: known to the daemon and to those who look for it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["default_rundir"]


def default_rundir() -> Path:
    """``$XDG_RUNTIME_DIR/hearth``, or a folder of the user's below the temporary one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "hearth" if runtime else Path(tempfile.gettempdir()) / f"hearth-{os.getuid()}"
