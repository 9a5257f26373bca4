"""A user's own parent chart of these: it passes global values to all of its dependencies, and can disable each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts.helm import Refused, rendered
from support.repository import CHARTS

OF_ALL = {"imageRegistry": "registry.example.com", "kserve": True}
each_chart = pytest.mark.parametrize("chart", ["slipway", "slipway-crds", "slipway-platform"])


def umbrella(folder: Path, chart: str) -> Path:
    above = folder / "umbrella"
    shutil.copytree(CHARTS / chart, above / "charts" / chart)
    below = above / "charts" / chart / "Chart.yaml"
    own_fields = {key: each for key, each in yaml.safe_load(below.read_text()).items() if key != "dependencies"}
    below.write_text(yaml.safe_dump(own_fields))
    needed = {"name": chart, "version": own_fields["version"], "condition": f"{chart}.enabled"}
    metadata = {"apiVersion": "v2", "name": "umbrella", "version": "1.0.0", "dependencies": [needed]}
    (above / "Chart.yaml").write_text(yaml.safe_dump(metadata))
    return above


@each_chart
def test_a_parent_chart_may_pass_globals_and_enable_each_chart(chart: str, tmp_path: Path) -> None:
    below: Any = {"kserve": {"crds": False, "controller": False}} if chart == "slipway-platform" else {}
    rendered(umbrella(tmp_path, chart), {"global": OF_ALL, chart: {"enabled": True, **below}})


@each_chart
def test_a_parent_chart_may_disable_each_chart(chart: str, tmp_path: Path) -> None:
    assert rendered(umbrella(tmp_path, chart), {chart: {"enabled": False}}) == []


@pytest.mark.parametrize("chart", ["slipway", "slipway-crds"])
def test_enabled_false_is_refused_without_a_parent_chart(chart: str) -> None:
    with pytest.raises(Refused, match=r"at '/enabled': value must be true"):
        rendered(chart, {"enabled": False})
