"""How fast a replica is expected to be, against measured runs (benchmarks/measured)."""

from __future__ import annotations

import pytest
from support.builders.measured_starts import Run, runs

RUNS = runs()


@pytest.mark.parametrize("run", RUNS, ids=[run.what for run in RUNS])
def test_the_expected_time_is_within_a_quarter_of_the_measured_one(run: Run) -> None:
    assert abs(run.error) < 0.25


def test_on_average_expected_times_are_off_by_a_tenth_or_less() -> None:
    assert sum(abs(run.error) for run in RUNS) / len(RUNS) <= 0.1
