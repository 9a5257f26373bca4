"""A release fits easily into the Secret in which helm stores it, which may have 1 MiB."""

from __future__ import annotations

import pytest
from support.charts.release_size import LIMIT, secret_size
from support.charts.values import defaults

ALL_ON = {
    "watchNamespaces": [f"team-{number}" for number in range(20)],
    "activator": {"names": ["slipway-activator", "second"], "autoscaling": {"enabled": True}},
    "runtimes": {name: {"enabled": True} for name in defaults("slipway")["runtimes"]},
    "monitoring": {"podMonitor": {"enabled": True}, "rules": {"enabled": True}},
}


@pytest.mark.parametrize(("chart", "values"), [("slipway", {}), ("slipway", ALL_ON), ("slipway-crds", {})])
def test_a_release_takes_at_most_a_third_of_the_available_size(chart: str, values: dict[str, object]) -> None:
    assert secret_size(chart, values) < LIMIT / 3
