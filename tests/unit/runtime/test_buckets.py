"""The boundaries of histograms suit every target that an objective may have."""

from __future__ import annotations

from itertools import pairwise

import pytest
from slipway_runtime.contract.buckets import FIRST_TOKEN_BUCKETS, REQUEST_BUCKETS, TOKEN_BUCKETS

ALL = [
    pytest.param(TOKEN_BUCKETS, 0.001, id="tokens"),
    pytest.param(FIRST_TOKEN_BUCKETS, 0.005, id="first token"),
    pytest.param(REQUEST_BUCKETS, 0.05, id="requests"),
]


@pytest.mark.parametrize(("buckets", "least"), ALL)
def test_each_target_has_a_boundary_within_25_percent(buckets: tuple[float, ...], least: float) -> None:
    assert least in buckets
    # The target that is farthest from both of its neighbours is in the middle of them.
    assert [(a, b) for a, b in pairwise(buckets) if a >= least and (b - a) / (b + a) > 0.25] == []


@pytest.mark.parametrize(("buckets", "_"), ALL)
def test_there_are_between_24_and_40_rising_boundaries(buckets: tuple[float, ...], _: float) -> None:
    assert 24 <= len(buckets) <= 40
    assert list(buckets) == sorted(set(buckets))


@pytest.mark.parametrize(("buckets", "_"), ALL)
def test_all_programs_write_a_boundary_in_the_same_way(buckets: tuple[float, ...], _: float) -> None:
    """Rules join on the label, and Python writes a whole number as 1.0."""
    assert all(type(each) is float and "e" not in str(each) for each in buckets)


def test_a_token_of_5_ms_and_a_first_token_of_20_ms_can_be_seen() -> None:
    assert [each for each in TOKEN_BUCKETS if 0.003 < each < 0.007] == [0.004, 0.005, 0.006]
    assert [each for each in FIRST_TOKEN_BUCKETS if 0.012 < each < 0.026] == [0.0125, 0.02, 0.025]
