"""The guard's metrics stay small, however many keys there are."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from slipway_runtime.guard.metrics import MOST_OWNERS, GuardMetrics


def keys_in(registry: CollectorRegistry) -> set[str]:
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {sample.labels["key"] for sample in samples if "key" in sample.labels}


def test_zero_requests_in_flight_are_reported_before_the_first_request() -> None:
    """An autoscaler that doesn't find the series treats the metrics as broken."""
    registry = CollectorRegistry()
    GuardMetrics(registry, "gemma")
    assert registry.get_sample_value("slipway_requests_in_flight", {"model_name": "gemma"}) == 0


def test_owners_beyond_the_limit_are_counted_together_whatever_their_outcome() -> None:
    registry = CollectorRegistry()
    metrics = GuardMetrics(registry, "gemma")
    for number in range(1000):
        metrics.answered(f"owner-{number}", "/v1/completions", 200)
        metrics.refused(f"other-owner-{number}", "draining")
    assert len(keys_in(registry)) == MOST_OWNERS + 1
    assert registry.get_sample_value(
        "slipway_requests_total", {"model_name": "gemma", "key": "other", "path": "/v1/completions", "status": "200"}
    )
