"""What is kept of a release fits into the Secret that helm keeps it in, by far; it has 1 MiB at most."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
import yaml
from support.charts import CHARTS, text

LIMIT = 1 << 20
ALL_ON = {
    "watchNamespaces": [f"team-{number}" for number in range(20)],
    "activator": {"names": ["slipway-activator", "second"], "autoscaling": {"enabled": True}},
    "monitoring": {"podMonitor": {"enabled": True}},
}


def kept(chart: str, values: dict[str, object]) -> int:
    """Bytes in the Secret: as helm does it, all files of the chart, the values and what was rendered, packed."""
    folder = CHARTS / chart
    files = {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    release = {
        "name": chart,
        "chart": {
            "metadata": yaml.safe_load((folder / "Chart.yaml").read_text()),
            "values": yaml.safe_load((folder / "values.yaml").read_text()),
            "templates": [{"name": str(name), "data": base64.b64encode(data).decode()} for name, data in files.items()],
        },
        "config": values,
        "manifest": text(chart, values),
    }
    return len(base64.b64encode(gzip.compress(json.dumps(release).encode(), compresslevel=9)))


@pytest.mark.parametrize(("chart", "values"), [("slipway", {}), ("slipway", ALL_ON), ("slipway-crds", {})])
def test_a_release_takes_a_quarter_of_the_room_that_there_is_at_most(chart: str, values: dict[str, object]) -> None:
    assert kept(chart, values) < LIMIT / 4
