"""Alerts about replicas."""

from __future__ import annotations

from slipway_monitoring.promql import WHO, replicas, total, while_
from slipway_monitoring.rule import Alert, Condition, Parameter

AT_MAX_REPLICAS = Alert(
    name="SlipwayAtMaxReplicas",
    meaning="All replicas that a model may have are ready, and requests still wait.",
    severity="warning",
    lasting="15m",
    parameters=(Parameter(name="waiting", default=1, meaning="Waiting requests, at least."),),
    summary=f"{WHO} needs more replicas than it may have",
    description=f"All replicas that {WHO} may have are ready, and {{{{ $value }}}} requests still wait.",
    conditions=(
        Condition(
            expression=while_(
                f"{total('slipway:requests_waiting')} >= ${{waiting}}", f"{replicas('ready')} >= {replicas('max')}"
            ),
        ),
    ),
)
ALERTS = (AT_MAX_REPLICAS,)
