"""Durations and quantities are parsed as Kubernetes parses them."""

from decimal import Decimal

import pytest
from slipway.api.units import amount, seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("40ms", 0.04), ("1.5h", 5400), ("0s", 0)]
)
def test_a_duration_is_a_number_of_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "10 m", "m", "-5s", "1d", "5s\n"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("64Mi", 64 * 2**20), ("24Gi", 24 * 2**30), ("3350G", 3350 * 10**9), ("250m", Decimal("0.25")), ("2", 2)],
)
def test_a_quantity_is_a_number(text: str, expected: Decimal) -> None:
    assert amount(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("1e3", 1000), ("2E2", 200), ("1.5k", 1500), ("1E", 10**18)])
def test_exponents_and_fractions_are_quantities(text: str, expected: int) -> None:
    assert amount(text) == expected


@pytest.mark.parametrize("text", ["", "80 GB", "64MB", "Gi", "1KI"])
def test_an_invalid_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        amount(text)
