# SPDX-License-Identifier: Apache-2.0
"""Where an instance lives, and keeps what it must not lose, when nobody says where."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote

__all__ = ["default_rundir", "default_statedir"]


def default_rundir() -> Path:
    """``$XDG_RUNTIME_DIR/hearth``, or a folder of the user's below the temporary one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "hearth" if runtime else Path(tempfile.gettempdir()) / f"hearth-{os.getuid()}"


def default_statedir(rundir: Path) -> Path:
    """A folder in ``$XDG_STATE_HOME/hearth``, by default ~/.local/state/hearth, for the instance of this rundir."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "hearth" / quote(str(rundir), safe="")
