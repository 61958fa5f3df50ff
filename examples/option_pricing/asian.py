# SPDX-License-Identifier: Apache-2.0
"""Asian call options: they pay by how much the average of monthly prices exceeds the strike. There is no formula."""

from __future__ import annotations

import math
import random

import msgspec

__all__ = ["Draw", "Option", "Sums", "simulate"]


class Option(msgspec.Struct, frozen=True):
    """rate and volatility are yearly; volatility 0.2 is 20 %."""

    strike: float
    months: int
    spot: float = 100.0
    rate: float = 0.04
    volatility: float = 0.25


class Draw(msgspec.Struct):
    """One task: so many paths of one option, drawn from a seed of its own."""

    option: Option
    paths: int
    seed: int


class Sums(msgspec.Struct):
    """What paths have paid, discounted: enough for the mean and its error, and sums of tasks simply add up."""

    paths: int = 0
    paid: float = 0.0
    squared: float = 0.0

    def __iadd__(self, other: Sums) -> Sums:
        return Sums(self.paths + other.paths, self.paid + other.paid, self.squared + other.squared)

    @property
    def mean(self) -> float:
        """The price."""
        return self.paid / self.paths if self.paths else math.nan

    @property
    def error(self) -> float:
        """The standard error of the price."""
        if self.paths < 2:
            return math.inf
        variance = self.squared / self.paths - self.mean**2
        return math.sqrt(max(0.0, variance) / self.paths)


def simulate(draw: Draw) -> Sums:
    """Let the price wander month by month."""
    option, gauss = draw.option, random.Random(draw.seed).gauss
    drift = (option.rate - option.volatility**2 / 2) / 12
    step = option.volatility / math.sqrt(12)
    discount = math.exp(-option.rate * option.months / 12)
    sums = Sums(draw.paths)
    for _ in range(draw.paths):
        level = total = 0.0
        for _ in range(option.months):
            level += gauss(drift, step)
            total += math.exp(level)
        paid = discount * max(0.0, option.spot * total / option.months - option.strike)
        sums.paid += paid
        sums.squared += paid * paid
    return sums
