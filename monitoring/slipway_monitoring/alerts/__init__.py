"""The alerts, each with its condition, its values in the chart, and what it says.

Symptoms first: what clients notice. Then causes that lead to them, and last what only costs money.
"""

from __future__ import annotations

from slipway_monitoring.alerts import cost, engine, objectives, own, scaling, starting
from slipway_monitoring.rule import Alert

ALERTS: tuple[Alert, ...] = (
    *starting.ALERTS,
    *objectives.ALERTS,
    *engine.ALERTS,
    *scaling.ALERTS,
    *own.ALERTS,
    *cost.ALERTS,
)
