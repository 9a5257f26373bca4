"""The values in the example repository are values that the charts have."""

from __future__ import annotations

from pathlib import Path

import yaml
from support.charts import helm

REPOSITORY = Path(__file__).parents[2] / "manifests/argocd/repository"


def test_the_values_of_the_repository_are_valid_for_the_chart() -> None:
    values = yaml.safe_load((REPOSITORY / "values/slipway.yaml").read_text())
    assert helm.rendered("slipway", values)


def test_the_accelerators_of_the_repository_have_names_of_their_own() -> None:
    own = {
        each["metadata"]["name"]
        for path in (REPOSITORY / "accelerators").glob("*.yaml")
        for each in yaml.safe_load_all(path.read_text())
    }
    of_the_chart = {
        each["metadata"]["name"] for each in helm.rendered("slipway") if each["kind"] == "AcceleratorProfile"
    }
    assert not own & of_the_chart
