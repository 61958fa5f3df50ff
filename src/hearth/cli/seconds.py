# SPDX-License-Identifier: Apache-2.0
"""Seconds on the command line."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["Seconds"]

_MAX_S = 1e9
"""Thirty years: beyond what anyone waits, and within what the system's clocks can."""


class Seconds(click.FloatRange):
    """How long to wait. Not a number is refused as what it is: click would find it in any range."""

    def __init__(self, *, may_be_none: bool = False) -> None:
        """may_be_none: whether it may be 0."""
        super().__init__(min=0, max=_MAX_S, min_open=not may_be_none)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A finite number in the range. Raises BadParameter."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds
