from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.cli.round_trips import RoundTrips

times = st.lists(st.floats(0, 100), min_size=1, max_size=300)


@given(times)
def test_the_summary_is_that_of_the_times(measured: list[float]) -> None:
    trips = RoundTrips()
    trips.sent = len(measured)
    for time_s in measured:
        trips.add(time_s)
    summary = trips.summary()
    assert summary is not None
    assert (summary.min, summary.max, trips.loss) == (min(measured), max(measured), 0)
    assert summary.avg == pytest.approx(statistics.fmean(measured))
    assert summary.median == statistics.median_low(measured)
    assert summary.median <= summary.p99 <= summary.max
    assert sum(each > summary.p99 for each in measured) <= len(measured) / 100


def test_without_an_answer_there_is_no_summary() -> None:
    trips = RoundTrips()
    assert (trips.summary(), trips.loss) == (None, 0)
    trips.sent = 2
    assert (trips.summary(), trips.loss) == (None, 1)
