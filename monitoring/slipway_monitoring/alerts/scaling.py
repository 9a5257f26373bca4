"""Alerts about replicas, and about who decides on their number."""

from __future__ import annotations

from slipway_monitoring.promql import WHO, largest, replicas, total, while_
from slipway_monitoring.rule import Alert, Condition, Parameter

AT_MAX_REPLICAS = Alert(
    name="SlipwayAtMaxReplicas",
    meaning="All replicas that a model may have are ready, and requests still wait.",
    severity="warning",
    lasting="15m",
    parameters=(Parameter(name="waiting", default=1, meaning="waiting requests, at least."),),
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

_REASONS = "KedaMissing|KedaDown|ScalerUnavailable|MetricsMissing|ActivatorUnavailable"
SCALER_UNREACHABLE = Alert(
    name="SlipwayScalerUnreachable",
    meaning="The number of a model's replicas doesn't follow its demand, because KEDA can't reach the activator, or "
    "isn't working; a model at zero may not wake.",
    severity="critical",
    lasting="5m",
    summary=f"Replicas of {WHO} don't follow the demand: {{{{ $labels.reason }}}}",
    description=f"The number of replicas of {WHO} doesn't change, for the reason {{{{ $labels.reason }}}}: requests to "
    "a model at zero may wait in vain. `kubectl describe llm` says what is wrong.",
    conditions=(
        Condition(expression=largest(f'slipway_llmdeployment_condition{{reason=~"{_REASONS}"}}', "reason") + " > 0"),
    ),
)
ALERTS = (AT_MAX_REPLICAS, SCALER_UNREACHABLE)
