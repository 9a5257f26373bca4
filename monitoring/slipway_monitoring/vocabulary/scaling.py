"""Replicas and cold starts, as the operator reports them."""

from __future__ import annotations

from slipway_monitoring.promql import largest
from slipway_monitoring.rule import Group, Recording

GROUP = Group(
    name="slipway.scaling",
    recordings=(
        Recording(
            name="slipway:replicas",
            meaning="Replicas by `kind`: `wanted`, `ready`, `warming`, and the bounds `min` and `max`",
            unit="replicas",
            expression=largest("slipway_llmdeployment_replicas", "kind"),
        ),
        Recording(
            name="slipway:cold_start_seconds",
            meaning="The last cold start by `phase`; `total` is all of it",
            unit="seconds",
            expression=largest("slipway_last_cold_start_seconds", "phase"),
        ),
    ),
)
