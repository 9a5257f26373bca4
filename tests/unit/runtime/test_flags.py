"""The runtime's copy of the lists of flags."""

from __future__ import annotations

from slipway.contract import flags as operators
from slipway_runtime.contract.flags import HARMLESS
from slipway_runtime.engines.flags import WHY_REFUSED, WRITTEN_FLAGS


def test_it_equals_the_operators_copy() -> None:
    assert HARMLESS == operators.HARMLESS
    assert {flag: why for why, flags in operators.REASONS.items() for flag in flags} == WHY_REFUSED
    assert {flag for flags in operators.WRITTEN.values() for flag in flags} == WRITTEN_FLAGS
