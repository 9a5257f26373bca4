"""The recording rules: one set of names for all engines. A group may use what the ones above it record."""

from __future__ import annotations

from slipway_monitoring.rule import Group
from slipway_monitoring.vocabulary import cost, engine, latency, objectives, requests, scaling

GROUPS: tuple[Group, ...] = (
    scaling.GROUP,
    requests.GROUP,
    latency.GROUP,
    engine.GROUP,
    objectives.GROUP,
    objectives.BUDGETS,
    objectives.LEFT,
    cost.GROUP,
)
