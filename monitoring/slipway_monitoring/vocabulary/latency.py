"""Times of requests: how many were at or below each boundary, and quantiles of that."""

from __future__ import annotations

from slipway_monitoring.promql import first_of, rate, total
from slipway_monitoring.rule import Group, Recording
from slipway_monitoring.vocabulary.sources import HISTOGRAMS

WHAT = {
    "ttft": "time to first token",
    "tpot": "time per output token of a request, after its first one",
    "itl": "time between two tokens",
    "e2e": "time of a whole request",
    "queue": "time that a request waits in the engine",
}
QUANTILES = ("0.5", "0.95", "0.99")


def _buckets(measure: str) -> Recording:
    sources = HISTOGRAMS[measure].values()
    return Recording(
        name=f"slipway:{measure}_seconds:bucket_rate5m",
        meaning=f"Requests per second whose {WHAT[measure]} was at most `le` seconds",
        unit="per second",
        expression=first_of(*(total(rate(f"{name}_bucket"), "le") for name in sources)),
        sources=HISTOGRAMS[measure],
    )


def _quantile(measure: str, quantile: str) -> Recording:
    """Without requests it would be NaN, which no comparison lets through."""
    return Recording(
        name=f"slipway:{measure}_seconds:quantile",
        meaning=f"The {WHAT[measure]} that the share `quantile` of the last five minutes' requests doesn't exceed",
        unit="seconds",
        labels={"quantile": quantile},
        expression=f"histogram_quantile({quantile}, {total(f'slipway:{measure}_seconds:bucket_rate5m', 'le')}) >= 0",
    )


GROUP = Group(
    name="slipway.latency",
    recordings=tuple(
        recording
        for measure in HISTOGRAMS
        for recording in (_buckets(measure), *(_quantile(measure, each) for each in QUANTILES))
    ),
)
