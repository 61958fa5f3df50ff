# SPDX-License-Identifier: Apache-2.0
"""The synchronous handle and its reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.loading import load_part

__all__ = ()

if not TYPE_CHECKING:  # to a type checker any name would do

    def __getattr__(name: str) -> object:
        """Load the part that is asked for: ``import flux`` has always been enough to name them."""
        return load_part(__name__, name)
