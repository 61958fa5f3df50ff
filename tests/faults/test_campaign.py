"""The campaign, for some seconds; `make faults` runs it for as long as one wants."""

from __future__ import annotations

import pytest

from tests.faults.campaign import run_campaign

_SECONDS = 7.0
_SEED = 4


@pytest.mark.timeout(240)
def test_whatever_is_killed_nothing_acknowledged_is_lost_and_nothing_is_answered_twice() -> None:
    print(run_campaign(_SECONDS, _SEED))
