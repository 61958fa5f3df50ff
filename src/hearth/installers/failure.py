# SPDX-License-Identifier: Apache-2.0
"""What ends an installation that cannot succeed."""

from __future__ import annotations

__all__ = ["InstallFailed"]


class InstallFailed(Exception):
    """The application cannot be installed; the text says what, where and what to do.

    Another attempt may succeed, so nothing of it is kept.
    """
