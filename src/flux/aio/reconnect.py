# SPDX-License-Identifier: Apache-2.0
"""How a lost connection is made again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Reconnect"]


@dataclass(frozen=True)
class Reconnect:
    """Try again with growing pauses: from first_delay_s, doubled up to longest_delay_s, for give_up_s in all.

    Each pause is shortened by up to half, at random, so that many clients of one broker do not come at once.
    """

    give_up_s: float = 60.0
    first_delay_s: float = 0.05
    longest_delay_s: float = 5.0

    def delays(self) -> Iterator[float]:
        """The seconds to wait after each failed attempt."""
        delay = self.first_delay_s
        while True:
            yield delay * random.uniform(0.5, 1)
            delay = min(2 * delay, self.longest_delay_s)
