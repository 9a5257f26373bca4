"""Alerts about what costs money."""

from __future__ import annotations

from slipway_monitoring.promql import WHO, largest, total, while_
from slipway_monitoring.rule import Alert, Condition, Parameter

_READY = largest('min_over_time(slipway:replicas{kind="ready"}[${window}])')
_HELD_FOR_ALL_OF_IT = largest('slipway:replicas{kind="ready"} offset ${window}')
_RAN = total("max_over_time(slipway:requests_running[${window}])")
_READ = total("max_over_time(slipway:prompt_tokens:rate5m[${window}])")
_ANSWERED = total('max_over_time(slipway:requests:rate5m{code!="refused"}[${window}])')
ACCELERATOR_IDLE = Alert(
    name="SlipwayAcceleratorIdle",
    meaning="A model's replicas have held at least `devices` accelerators throughout `window`, without a request.",
    severity="info",
    lasting="0m",
    parameters=(
        Parameter(name="devices", default=1, meaning="accelerators, at least; on CPUs there are 0."),
        Parameter(name="window", default="4h", meaning="the time without requests."),
    ),
    summary=f"{WHO} holds {{{{ $value }}}} accelerators without requests",
    description=f"{WHO} has held {{{{ $value }}}} accelerators for ${{window}} without a request. With "
    "`spec.scaling.minReplicas: 0` it would sleep.",
    conditions=(
        Condition(
            expression=while_(
                f"{largest('slipway_planned_devices')} * {_READY} >= ${{devices}}",
                f"{_HELD_FOR_ALL_OF_IT} > 0 and {_READY} > 0",
                f"{_RAN} == 0 unless {_READ} > 0 unless {_ANSWERED} > 0",
            )
        ),
    ),
)

_SPENT = largest("slipway_budget_spent", "period")
_LIMIT = largest("slipway_budget_limit", "period")
BUDGET_NEARLY_SPENT = Alert(
    name="SlipwayBudgetNearlySpent",
    meaning="A model has spent more than `ratio` of its budget of the day or month.",
    severity="warning",
    lasting="0m",
    parameters=(Parameter(name="ratio", default=0.8, meaning="the share of the budget, more than."),),
    summary=f"{WHO} has spent {{{{ $value | humanizePercentage }}}} of its budget of the {{{{ $labels.period }}}}",
    description=f"{WHO} has spent {{{{ $value | humanizePercentage }}}} of its budget of the {{{{ $labels.period }}}} "
    "(UTC). Once all of it is spent, `spec.budget.then` says what happens.",
    conditions=(Condition(expression=f"{_SPENT} / ({_LIMIT} > 0) > ${{ratio}}"),),
)
ALERTS = (BUDGET_NEARLY_SPENT, ACCELERATOR_IDLE)
