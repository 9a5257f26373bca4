"""No annotation of a spec may say that the metrics of a built-in engine are elsewhere."""

from __future__ import annotations

import pytest
from slipway.api import engine_notes
from slipway.api.names import GROUP
from slipway.api.pod_annotations import why_refused
from slipway.contract.flags import HARMLESS

NOTES = [name for name in engine_notes.OF_METRICS if not name.startswith(f"{GROUP}/")]
"""Annotations of GROUP may not be set in a spec."""


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.parametrize("engine", HARMLESS)
def test_annotations_that_redirect_the_scraping_of_metrics_are_refused_for_built_in_engines(
    engine: str, name: str
) -> None:
    assert why_refused(engine, name) == (
        f"{name} says where an engine's metrics are, which Slipway knows for its own engines: remove it"
    )


@pytest.mark.parametrize("name", NOTES)
def test_third_party_engines_may_have_the_annotations_for_scraping(name: str) -> None:
    assert why_refused("sglang", name) is None


@pytest.mark.parametrize("name", ["team", "prometheus.io/port", "example.com/prometheus.kserve.io"])
def test_other_annotations_are_accepted(name: str) -> None:
    assert why_refused("vllm", name) is None
