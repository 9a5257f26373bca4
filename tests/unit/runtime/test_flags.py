"""The runtime's copy of the lists of flags."""

from __future__ import annotations

from slipway.api import engine_flags as api
from slipway_runtime.engines.flags import lists


def test_it_is_the_operators() -> None:
    assert lists().harmless == {engine: frozenset(flags) for engine, flags in api.HARMLESS.items()}
    assert lists().refused == {flag: why for why, flags in api.REASONS.items() for flag in flags}
    assert lists().written == {flag for flags in api.FIELDS.values() for flag in flags.split()}
