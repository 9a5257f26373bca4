"""What Prometheus answered to a panel's queries, kept small: the documentation's pictures are drawn from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from slipway_monitoring.dashboards.filling import Filled

from support.monitoring.prometheus import Monitoring

DIGITS = 4
LABEL = "{{%s}}"


def write(
    own: Monitoring, queries: Iterable[Filled], file: Path, *, start: float, end: float, source: str, step: int = 5
) -> None:
    """Stores the series of one panel between two times. `source`: when and on what they were made."""
    every = list(queries)
    lines = {}
    for each in every:
        found = own.ask("query_range", query=each.promql, start=str(start), end=str(end), step=f"{step}s")["result"]
        for series in found:
            points = [(round(t - start, 1), _short(float(v))) for t, v in series["values"] if not math.isnan(float(v))]
            if points:
                lines[_legend(each.query.legend, series["metric"])] = points
    panel = every[0].panel
    stored = {
        "title": panel.title,
        "unit": panel.unit,
        "source": source,
        "step": step,
        "queries": [each.query.expr for each in every],
        "lines": dict(sorted(lines.items())),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(stored, separators=(",", ":"), ensure_ascii=False) + "\n")


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _legend(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(LABEL % name, value)
    return legend
