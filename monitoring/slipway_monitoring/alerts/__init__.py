"""The alerts, each with its condition, its values in the chart, and what it says."""

from __future__ import annotations

from slipway_monitoring.alerts import scaling
from slipway_monitoring.rule import Alert

ALERTS: tuple[Alert, ...] = (*scaling.ALERTS,)
